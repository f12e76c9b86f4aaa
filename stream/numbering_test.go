package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A fold that finds its lines again by their numbers adds up as one that looks each
// of them up, over many batches and cuts, with and without room, also when the lines
// get other numbers.
func TestNumbersChangeNoRow(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		limits := DefaultLimits()
		if seed%2 == 0 {
			limits = Limits{Series: 1 + r.IntN(8), Rows: 1 + r.IntN(40), Edges: 1 + r.IntN(8)}
		}
		known, cold, numbering := NewFold(limits), NewFold(limits), NewNumbering()
		for step := range 40 {
			if step%15 == 14 {
				numbering = NewNumbering()
			}
			events, points := traffic(r, 1+r.IntN(60))
			var c Combined
			c.Combine(columnsOf(events), points)
			if c.LookUp(numbering); c.by != nil && c.by != numbering {
				t.Fatal("numbers of another numbering")
			}
			c.Number(numbering)
			known.Add(&c, nil)
			c.Number(NewNumbering())
			cold.Add(&c, nil)
			if step%4 == 3 {
				if k, w := rowBytes(known.Take()), rowBytes(cold.Take()); !bytes.Equal(k, w) {
					t.Fatalf("seed %d, step %d: the rows differ", seed, step)
				}
			}
		}
	}
}

// Looking lines up gives none a number, and all have theirs or none has.
func TestLookUpGivesNoNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	events, points := traffic(r, 50)
	var few, all, again Combined
	few.Combine(columnsOf(events[:10]), points[:10])
	all.Combine(columnsOf(events), points)
	numbering := NewNumbering()
	few.Number(numbering)
	n := numbering.Len()
	if all.LookUp(numbering); numbering.Len() != n || all.by != nil || n >= all.Len() {
		t.Fatalf("%d numbers after %d, of %d lines", numbering.Len(), n, all.Len())
	}
	all.Number(numbering)
	again.Combine(columnsOf(events), points)
	if again.LookUp(numbering); again.by != numbering || len(again.Numbers) != again.Len() {
		t.Errorf("%d of %d lines were found", len(again.Numbers), again.Len())
	}
	if again.LookUp(NewNumbering()); again.by != nil {
		t.Error("numbers of another numbering were kept")
	}
}

// A memory that is full forgets what was not asked for the longest, and never the
// unit at hand.
func TestMemoryForgetsTheOldest(t *testing.T) {
	m := Memory[int]{most: 10}
	of := func(by *Numbering, numbers int) []int { return m.Of(&Combined{by: by, numbers: numbers}) }
	a, b, c := NewNumbering(), NewNumbering(), NewNumbering()
	of(a, 4)[3] = 1
	of(b, 4)[3] = 2
	of(a, 4) // and so b is the oldest
	of(c, 4)[3] = 3
	if got := of(a, 4)[3]; got != 1 {
		t.Errorf("what was asked for lately is %d", got)
	}
	if got := of(b, 4)[3]; got != 0 {
		t.Errorf("what was forgotten is %d", got)
	}
	if m.total > m.most || len(m.of) != 2 {
		t.Errorf("%d entries of %d units", m.total, len(m.of))
	}
	if big := of(c, 50); len(big) != 50 || len(m.of) != 1 || m.total != 50 {
		t.Errorf("%d entries of the unit at hand, %d of %d units", len(big), m.total, len(m.of))
	}
	if m.Forget(); m.total != 0 || of(c, 2)[1] != 0 {
		t.Error("something is left")
	}
}
