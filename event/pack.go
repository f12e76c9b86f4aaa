package event

import (
	"fmt"

	"github.com/golang/snappy"

	"pando/internal/pack"
)

// Versions of the format.
const (
	flat   = 1       // nothing is compressed
	packed = Version // texts are
)

// A batch has three parts: its head; the columns that do not shrink (times are
// differences already, values and identities are as good as random); and texts,
// the columns that repeat themselves, in the words of attributes and originals
// above all. Version 2 has texts compressed behind the head.

// bounds are where columns end within their parts.
type bounds struct {
	times, values int // in plain; identities follow
	codes, names  int // in texts; attributes and originals follow
}

const (
	// leastSaving is the part of texts, one byte in so many, that compression
	// has to save: less is not worth the time of those who decode.
	leastSaving = 8
	// packedOverhead is what compressed texts take beside themselves at most.
	packedOverhead = 5
)

// join appends the parts to dst, in the version that pays.
func (e *Encoder) join(dst []byte) []byte {
	if !e.compress(e.texts.Bytes()) {
		return e.joinFlat(dst)
	}
	at := len(dst)
	e.head.Bin(e.packed)
	dst = append(append(dst, e.head.Bytes()...), e.plain.Bytes()...)
	dst[at] = packed // the head's first value, of one byte in both versions
	return dst
}

// joinFlat appends the parts to dst in version 1.
func (e *Encoder) joinFlat(dst []byte) []byte {
	plain, texts := e.plain.Bytes(), e.texts.Bytes()
	dst = append(append(dst, e.head.Bytes()...), plain[:e.at.times]...)
	dst = append(append(dst, texts[:e.at.codes]...), plain[e.at.times:e.at.values]...)
	dst = append(append(dst, texts[e.at.codes:e.at.names]...), plain[e.at.values:]...)
	return append(dst, texts[e.at.names:]...)
}

// compress compresses texts and reports whether that pays. Without attributes
// and originals it is not tried: names repeat as numbers, in a byte or two, and
// such batches are to be as fast as can be.
func (e *Encoder) compress(texts []byte) bool {
	if e.shape.attrCount+e.shape.rawBytes == 0 {
		return false
	}
	e.packed = snappy.Encode(e.packed[:cap(e.packed)], texts)
	saved := len(texts) - len(e.packed)
	return saved > packedOverhead && saved >= len(texts)/leastSaving
}

// unpack reads compressed texts from a batch of so many bytes and decompresses
// them into c's memory. They must fit into a batch of version 1.
func (c *Columns) unpack(r *pack.Reader, size int) *pack.Reader {
	const field = "texts"
	block := r.Bin(field, MaxBatchBytes)
	if r.Err() != nil {
		return r
	}
	n, err := snappy.DecodedLen(block)
	if rest := size - len(block); err == nil && n > MaxBatchBytes-rest {
		err = fmt.Errorf("%d bytes beside %d others: limit %d", n, rest, MaxBatchBytes)
	}
	if err == nil {
		c.unpacked = sized(c.unpacked, n)
		_, err = snappy.Decode(c.unpacked, block)
	}
	if err != nil {
		r.Fail(field, err)
		return r
	}
	return pack.NewReader(c.unpacked)
}
