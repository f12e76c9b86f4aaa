package cep

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pando/internal/pack"
)

// FuzzReadSet: whatever is read as a set of patterns is written as the same
// bytes again, and runs.
func FuzzReadSet(f *testing.F) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 20 {
		set, err := NewSet([]*Pattern{randomPattern(r)})
		if err != nil {
			f.Fatal(err)
		}
		w := pack.NewWriter()
		set.Append(w)
		f.Add(w.Copy())
	}
	trace := randomTrace(rand.New(rand.NewPCG(9, 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		set, err := ReadSet(r)
		if err != nil || r.Done() != nil {
			return
		}
		w := pack.NewWriter()
		set.Append(w)
		if !bytes.Equal(w.Bytes(), b) {
			t.Fatal("written otherwise than it was read")
		}
		e := engineOf(t, DefaultOptions(), set.Patterns()...)
		for _, ev := range trace {
			e.Observe(ev)
		}
		e.Advance(1 << 62)
	})
}

// FuzzRestore: whatever state is restored can be written, restored again and
// run.
func FuzzRestore(f *testing.F) {
	r := rand.New(rand.NewPCG(8, 9))
	patterns := []*Pattern{pair()}
	for i := range 4 {
		p := randomPattern(r)
		p.Name += string(rune('a' + i))
		patterns = append(patterns, p)
	}
	trace := randomTrace(r)
	for n := range trace {
		e := engineOf(f, DefaultOptions(), patterns...)
		for _, ev := range trace[:n+1] {
			e.Observe(ev)
		}
		e.Advance(trace[n].Time)
		f.Add(snapshotOf(e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := engineOf(t, DefaultOptions(), patterns...)
		if e.Restore(pack.NewReader(b)) != nil {
			return
		}
		e = revived(t, e)
		for _, ev := range trace {
			e.Observe(ev)
		}
		e.Advance(1 << 61)
	})
}
