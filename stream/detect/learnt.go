package detect

import (
	"cmp"
	"fmt"
	"math"

	"pando/internal/pack"
)

// Alternatives is how many changes an [Intensity] tells apart.
const Alternatives = len(alternatives)

// Learnt is the baseline of a test without the evidence of the present: what
// is worth handing on to whoever goes on with the same series. It holds for
// tests of other run lengths too. The zero value knows nothing.
type Learnt struct {
	exposure, events float64 // decayed sums
	expected, square float64 // of predicted counts, and of squared deviations from them
	whole            int64   // exposure of all blocks ever
}

// Exposure is how much was learnt from, ever; 0 if nothing was.
func (l Learnt) Exposure() int64 { return l.whole }

// Compare orders what was learnt: from less exposure before from more. Only
// equals compare as 0.
func (l Learnt) Compare(m Learnt) int {
	return cmp.Or(cmp.Compare(l.whole, m.whole), cmp.Compare(l.exposure, m.exposure), cmp.Compare(l.events, m.events),
		cmp.Compare(l.expected, m.expected), cmp.Compare(l.square, m.square))
}

// Append writes it; equals have equal bytes.
func (l Learnt) Append(w *pack.Writer) {
	w.Uint(uint64(l.whole))
	for _, v := range []float64{l.exposure, l.events, l.expected, l.square} {
		w.Float(v)
	}
}

// ReadLearnt reads what [Learnt.Append] wrote. Errors stick in r, and give the
// zero value.
func ReadLearnt(r *pack.Reader) Learnt {
	l := Learnt{whole: readCount(r, "learnt")}
	for _, v := range []*float64{&l.exposure, &l.events} {
		*v = readReal(r, "decayed sum", 0, mostSum)
	}
	for _, v := range []*float64{&l.expected, &l.square} {
		*v = readReal(r, "decayed square", 0, mostSquare)
	}
	if r.Err() == nil && (l.exposure < 1) != (l.whole == 0) {
		r.Fail("learnt", fmt.Errorf("%w: %d, and %g of it in memory", errState, l.whole, l.exposure))
	}
	if r.Err() != nil {
		return Learnt{}
	}
	return l
}

// Learnt is what the test has learnt in whole blocks.
func (t *Intensity) Learnt() Learnt {
	b := &t.base
	return Learnt{exposure: b.exposure, events: b.events, expected: b.expected, square: b.square, whole: b.whole}
}

// Know replaces what the test has learnt. It forgets all evidence, and an open
// change.
func (t *Intensity) Know(l Learnt) {
	t.restart()
	b := &t.base
	b.exposure, b.events, b.expected, b.square, b.whole = l.exposure, l.events, l.expected, l.square, l.whole
	if b.exposure > 0 {
		t.derive()
	}
}

// Open returns which of the alternatives was found and is not over, by its
// number below [Alternatives].
func (t *Intensity) Open() (alternative int, ok bool) { return int(t.open), t.open >= 0 }

// Resume goes on with a change that another test of the series found, with as
// much evidence for it as suffices. It reports false, and does nothing, if the
// test does not look for that alternative, or has learnt nothing.
func (t *Intensity) Resume(alternative int) bool {
	if alternative < 0 || alternative >= Alternatives || t.tests[alternative].threshold == 0 {
		return false
	}
	s := &t.tests[alternative]
	s.weight, s.zero, s.events = s.threshold, t.at, 0
	t.open, t.openedAt, t.onset, t.calm, t.flaps = int8(alternative), t.at, t.at, -1, 0
	t.fresh = baseline{openFrom: t.at}
	return true
}

// Close forgets an open change, which another test of the series saw end, and
// all evidence.
func (t *Intensity) Close() { t.Know(t.Learnt()) }

// At is the exposure so far.
func (t *Intensity) At() int64 { return t.at }

// Since is the exposure since when there is evidence for any change, that of
// now if there is none.
func (t *Intensity) Since() int64 {
	since := int64(math.MaxInt64)
	for i := range t.tests {
		if s := &t.tests[i]; s.weight > 0 {
			since = min(since, s.zero)
		}
	}
	return min(since, t.at)
}
