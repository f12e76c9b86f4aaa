package event

import (
	"errors"
	"fmt"
	"math/bits"

	"pando/internal/pack"
)

// traces reads the three columns of identities.
func (d *Decoder) traces(r *pack.Reader) {
	events := d.events
	if has, ids := d.present(r, "trace id", 16); has != nil {
		for i := range events {
			if has[i/8]>>(i%8)&1 == 0 {
				continue
			}
			if events[i].TraceID = [16]byte(ids); events[i].TraceID == [16]byte{} {
				r.Fail("trace id", errNotCanonical)
				return
			}
			ids = ids[16:]
		}
	}
	d.spans(r, "span id", func(e *Event) *[8]byte { return &e.SpanID })
	d.spans(r, "parent id", func(e *Event) *[8]byte { return &e.ParentID })
}

func (d *Decoder) spans(r *pack.Reader, field string, of func(*Event) *[8]byte) {
	has, ids := d.present(r, field, 8)
	if has == nil {
		return
	}
	for i := range d.events {
		if has[i/8]>>(i%8)&1 == 0 {
			continue
		}
		id := [8]byte(ids)
		if id == [8]byte{} {
			r.Fail(field, errNotCanonical)
			return
		}
		*of(&d.events[i]) = id
		ids = ids[8:]
	}
}

// present reads a column of identities of size bytes: a bit an event, and
// exactly as many identities as bits are set. Nil means that no event has one.
func (d *Decoder) present(r *pack.Reader, field string, size int) (has, ids []byte) {
	column := r.Bin(field, MaxBatchBytes)
	if len(column) == 0 {
		return nil, nil
	}
	n := len(d.events)
	if len(column) < (n+7)/8 {
		r.Fail(field, errors.New("too short"))
		return nil, nil
	}
	has, ids = column[:(n+7)/8], column[(n+7)/8:]
	set := 0
	for _, b := range has {
		set += bits.OnesCount8(b)
	}
	if set == 0 || n%8 != 0 && has[n/8]>>(n%8) != 0 || len(ids) != set*size {
		r.Fail(field, fmt.Errorf("%d bytes for %d events: %w", len(ids), set, errNotCanonical))
		return nil, nil
	}
	return has, ids
}

// raws reads the lengths of the originals and then their bytes, which stay
// where they are.
func (d *Decoder) raws(r *pack.Reader) {
	lengths := d.column(r, "raw lengths", len(d.events), false)
	if lengths == nil {
		return
	}
	raw := r.Bin("raw", MaxBatchBytes)
	for i, n := range lengths {
		switch {
		case n > MaxRaw:
			r.Fail("raw lengths", fmt.Errorf("%d bytes: limit %d", n, MaxRaw))
			return
		case n > uint64(len(raw)):
			r.Fail("raw lengths", fmt.Errorf("%d bytes announced, %d there", n, len(raw)))
			return
		case n > 0:
			d.events[i].Raw, raw = raw[:n:n], raw[n:]
		}
	}
	if len(raw) != 0 {
		r.Fail("raw", fmt.Errorf("%d bytes left over", len(raw)))
	}
}
