package event

import (
	"errors"
	"fmt"
	"math/bits"

	"pando/internal/pack"
)

// readIDs reads a column of identities: a bit an event, and exactly as many
// identities as bits are set. The list is empty if no event has one.
func readIDs[T [8]byte | [16]byte](r *pack.Reader, field string, list []T, n int) []T {
	column := r.Bin(field, MaxBatchBytes)
	list = list[:0]
	if len(column) == 0 {
		return list
	}
	if len(column) < (n+7)/8 {
		r.Fail(field, errors.New("too short"))
		return list
	}
	var none T
	size := len(none)
	has, ids := column[:(n+7)/8], column[(n+7)/8:]
	set := 0
	for _, b := range has {
		set += bits.OnesCount8(b)
	}
	if set == 0 || n%8 != 0 && has[n/8]>>(n%8) != 0 || len(ids) != set*size {
		r.Fail(field, fmt.Errorf("%d bytes for %d events: %w", len(ids), set, errNotCanonical))
		return list
	}
	list = sized(list, n)
	for i := range list {
		list[i] = none
		if has[i/8]>>(i%8)&1 == 0 {
			continue
		}
		id := T(ids[:size])
		if id == none {
			r.Fail(field, errNotCanonical)
			return list[:0]
		}
		list[i], ids = id, ids[size:]
	}
	return list
}

// readRaws reads the lengths of the originals and then their bytes, which stay
// where they are.
func (c *Columns) readRaws(r *pack.Reader) {
	c.raw, c.rawTo = nil, c.rawTo[:0]
	c.numbers = readColumn(r, "raw lengths", c.numbers, c.Count, false)
	if len(c.numbers) == 0 {
		return
	}
	c.raw = r.Bin("raw", MaxBatchBytes)
	c.rawTo = sized(c.rawTo, c.Count)
	end := uint64(0)
	for i, n := range c.numbers {
		if n > MaxRaw {
			r.Fail("raw lengths", fmt.Errorf("%d bytes: limit %d", n, MaxRaw))
			return
		}
		if end += n; end > uint64(len(c.raw)) {
			r.Fail("raw lengths", fmt.Errorf("%d bytes announced, %d there", end, len(c.raw)))
			return
		}
		c.rawTo[i] = uint32(end)
	}
	if end != uint64(len(c.raw)) {
		r.Fail("raw", fmt.Errorf("%d bytes left over", uint64(len(c.raw))-end))
	}
}
