package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
)

// outputHash chains the outputs.
type outputHash struct {
	h     hash.Hash
	from  []byte // the sum that this stretch continues
	count uint64 // outputs since the last fold
}

func newOutputHash(prev []byte) outputHash {
	h := sha256.New()
	h.Write(prev)
	return outputHash{h: h, from: prev}
}

func (o *outputHash) add(out Output) {
	var n [17]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(out.To)))
	binary.BigEndian.PutUint64(n[8:], uint64(len(out.Body)))
	n[16] = out.Kind
	o.h.Write(n[:])
	io.WriteString(o.h, out.To)
	o.h.Write(out.Body)
	o.count++
}

// value is the sum of the stretch so far.
func (o *outputHash) value() []byte { return o.h.Sum(nil) }

// fold ends one stretch and starts the next from its sum.
func (o *outputHash) fold() []byte {
	sum := o.value()
	*o = newOutputHash(sum)
	return sum
}
