package wire

import "pando/internal/pack"

// MaxPatterns bounds an encoded set of patterns, in bytes.
const MaxPatterns = 256 << 10

// Patterns is the set of patterns that is in force at the root. A parent says it
// when the session begins and whenever it changes; a relay passes it on, and
// goes on with the last one when it is cut off.
type Patterns struct {
	Version uint64 // index of the Raft entry that put it in force
	Set     []byte // see [pando/stream/cep.Set.Append]
}

func (m *Patterns) append(w *pack.Writer) {
	w.Uint(m.Version)
	w.Bin(m.Set)
}

func (m *Patterns) read(r *pack.Reader) {
	m.Version, m.Set = r.Uint("version", maxSeq), r.Bin("patterns", MaxPatterns)
}
