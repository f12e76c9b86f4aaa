package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/golang/snappy"

	"pando/internal/pack"
)

// inVersion1 is a batch as it is written where compression does not pay.
func inVersion1(t testing.TB, b *Batch) []byte {
	t.Helper()
	var e Encoder
	if _, err := e.Encode(nil, b); err != nil {
		t.Fatal(err)
	}
	e.head.Reset()
	h := b.header()
	h.append(e.head)
	return e.joinFlat(nil)
}

// Batches of names and numbers stay as they are; those with words are shorter.
func TestOnlyWordsAreCompressed(t *testing.T) {
	random := logEvents(20)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range random {
		random[i].Attrs, random[i].Raw = nil, make([]byte, 500)
		for j := range random[i].Raw {
			random[i].Raw[j] = byte(rng.Uint32())
		}
	}
	for name, c := range map[string]struct {
		events  []Event
		version byte
	}{
		"metrics": {metricEvents(300), flat}, "log": {logEvents(100), packed}, "one line": {logEvents(1), flat}, "noise": {random, flat},
	} {
		b := batchOf(Bulk, c.events)
		out, plain := encoded(t, b), inVersion1(t, b)
		if out[0] != c.version || c.version == flat && !bytes.Equal(out, plain) || c.version == packed && len(out) > len(plain)/2 {
			t.Errorf("%s: version %d, %d bytes instead of %d", name, out[0], len(out), len(plain))
		}
	}
}

// cut takes a batch of version 2 apart: what goes before its compressed texts,
// the block, and what follows.
func cut(t testing.TB, in []byte) (head, block, rest []byte) {
	t.Helper()
	r := pack.NewReader(in)
	if _, err := new(Header).read(r, in); err != nil {
		t.Fatal(err)
	}
	head = in[:len(in)-r.Left()]
	block = r.Bin("texts", MaxBatchBytes)
	return head, block, in[len(in)-r.Left():]
}

// columnsIn splits columns that follow one another.
func columnsIn(t testing.TB, b []byte) (columns [][]byte) {
	t.Helper()
	r := pack.NewReader(b)
	for r.Left() > 0 {
		at := len(b) - r.Left()
		r.Bin("column", MaxBatchBytes)
		columns = append(columns, b[at:len(b)-r.Left()])
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return columns
}

// flattened is a batch of version 2 as the description of the format says that
// it is in version 1.
func flattened(t testing.TB, in []byte) []byte {
	t.Helper()
	head, block, rest := cut(t, in)
	words, err := snappy.Decode(nil, block)
	if err != nil {
		t.Fatal(err)
	}
	plain, texts := columnsIn(t, rest), columnsIn(t, words)
	out := bytes.Clone(head)
	out[0] = 1
	for _, columns := range [][][]byte{
		plain[:5],   // times
		texts[:4],   // codes
		plain[5:6],  // values
		texts[4:16], // names
		plain[6:],   // identities
		texts[16:],  // attributes, originals
	} {
		out = append(out, bytes.Join(columns, nil)...)
	}
	return out
}

// Texts that are damaged, or that would be more than a batch holds, are refused,
// and cost no more memory than a batch does.
func TestCompressedTextsAreRefused(t *testing.T) {
	head, block, rest := cut(t, encoded(t, batchOf(Bulk, varied())))
	words, err := snappy.Decode(nil, block)
	if err != nil {
		t.Fatal(err)
	}
	long := snappy.Encode(nil, make([]byte, MaxBatchBytes))
	for name, bent := range map[string][]byte{
		"nothing":                     {},
		"no block":                    []byte("not a block"),
		"a byte of the block missing": block[:len(block)-1],
		"a byte of the block more":    append(bytes.Clone(block), 0),
		"more announced than there":   append([]byte{0xff, 0x7f}, block[2:]...),
		"a gigabyte announced":        binary.AppendUvarint(nil, 1<<30),
		"more than a batch may hold":  long,
		"a byte of a column missing":  snappy.Encode(nil, words[:len(words)-1]),
		"a column more":               snappy.Encode(nil, append(bytes.Clone(words), 0xc4, 0)),
	} {
		w := pack.NewWriter()
		w.Bin(bent)
		in := slices.Concat(head, w.Bytes(), rest)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(in)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: error %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 2*MaxBatchBytes {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}
