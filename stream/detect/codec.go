package detect

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"pando/internal/pack"
)

const codecVersion = 2

// errState is wrapped by what a snapshot cannot say.
var errState = errors.New("no state of a test")

func readVersion(r *pack.Reader) {
	if v := r.Uint("version", math.MaxUint64); r.Err() == nil && v != codecVersion {
		r.Fail("version", fmt.Errorf("is %d: want %d", v, codecVersion))
	}
}

// readCount reads what is at least 0 and stays in range when added to.
func readCount(r *pack.Reader, field string) int64 {
	return int64(r.Uint(field, math.MaxInt64/2))
}

// readReal reads a float in a range, and so no NaN, whose bits and whose
// integer differ between machines.
func readReal(r *pack.Reader, field string, least, most float64) float64 {
	v := r.Float(field)
	if r.Err() == nil && !(v >= least && v <= most) {
		r.Fail(field, fmt.Errorf("%w: %g", errState, v))
	}
	return v
}

// Snapshot writes the state; equal states have equal bytes.
func (r *Rate) Snapshot(w *pack.Writer) {
	w.Uint(codecVersion)
	w.Int(r.last)
	w.Uint(uint64(r.gap))
	w.Uint(uint64(r.gapAt))
	r.test.append(w)
}

// Restore replaces the state by what a test of the same options wrote. After
// an error it is as before.
func (r *Rate) Restore(in *pack.Reader) error {
	readVersion(in)
	fresh := Rate{last: in.Int("last step"), gap: readCount(in, "gap"), gapAt: readCount(in, "exposure at the gap")}
	fresh.test = readIntensity(in, r.test.opts)
	if in.Err() == nil && fresh.gapAt > fresh.test.at {
		in.Fail("exposure at the gap", errState)
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("restore rate: %w", err)
	}
	*r = fresh
	return nil
}

// Snapshot writes the state; equal states have equal bytes.
func (r *Ratio) Snapshot(w *pack.Writer) {
	w.Uint(codecVersion)
	r.test.append(w)
}

// Restore replaces the state by what a test of the same options wrote. After
// an error it is as before.
func (r *Ratio) Restore(in *pack.Reader) error {
	readVersion(in)
	t := readIntensity(in, r.test.opts)
	if err := in.Err(); err != nil {
		return fmt.Errorf("restore ratio: %w", err)
	}
	r.test = t
	return nil
}

// Snapshot writes the state; equal states have equal bytes.
func (l *Level) Snapshot(w *pack.Writer) {
	w.Uint(codecVersion)
	l.values.append(w)
	w.Float(l.lo)
	w.Float(l.hi)
	w.Uint(uint64(l.count))
	for _, told := range l.told {
		w.Bool(told)
	}
	l.above.append(w)
	l.below.append(w)
	l.beyond.append(w)
}

// Restore replaces the state by what a test of the same options wrote. After
// an error it is as before.
func (l *Level) Restore(in *pack.Reader) error {
	readVersion(in)
	fresh := Level{values: readSample(in, fenceValues, math.Inf(-1), math.Inf(1))}
	fresh.lo, fresh.hi = in.Float("lower fence"), in.Float("upper fence")
	fresh.count = readCount(in, "count")
	for i := range fresh.told {
		fresh.told[i] = in.Bool("told")
	}
	fresh.above = readIntensity(in, l.above.opts)
	fresh.below = readIntensity(in, l.below.opts)
	fresh.beyond = readIntensity(in, l.beyond.opts)
	if in.Err() == nil && int64(len(fresh.values.ring)) != min(fresh.count, fenceValues) {
		in.Fail("count", errState)
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("restore level: %w", err)
	}
	*l = fresh
	return nil
}

func (t *Intensity) append(w *pack.Writer) {
	w.Uint(uint64(t.at))
	t.base.append(w)
	t.fresh.append(w)
	for i := range t.tests {
		w.Uint(uint64(t.tests[i].weight))
		w.Uint(uint64(t.tests[i].zero))
		w.Uint(uint64(t.tests[i].events))
	}
	w.Int(int64(t.open))
	w.Uint(uint64(t.openedAt))
	w.Uint(uint64(t.onset))
	w.Int(t.calm)
	w.Uint(uint64(t.rearm))
	w.Int(int64(t.last))
	w.Uint(uint64(t.flaps))
}

func readIntensity(r *pack.Reader, o IntensityOptions) Intensity {
	t := Intensity{opts: o, at: readCount(r, "exposure")}
	t.base, t.fresh = readBaseline(r, t.at), readBaseline(r, t.at)
	if t.base.exposure > 0 {
		t.derive()
	}
	for i := range t.tests {
		s := &t.tests[i]
		s.weight = int64(r.Uint("evidence", uint64(2*s.threshold)))
		s.zero = int64(r.Uint("zero", uint64(t.at)))
		s.events = readCount(r, "events since")
	}
	t.open = readAlternative(r, "open")
	t.openedAt = int64(r.Uint("opened", uint64(t.at)))
	t.onset = int64(r.Uint("onset", uint64(t.at)))
	t.calm = r.Int("calm")
	t.rearm = int64(r.Uint("re-arm", math.MaxInt64))
	t.last = readAlternative(r, "last")
	t.flaps = uint8(r.Uint("flaps", maxFlaps))
	if r.Err() == nil && (t.calm < -1 || t.calm > t.at || t.open >= 0 && t.tests[t.open].threshold == 0) {
		r.Fail("open", errState)
	}
	return t
}

func readAlternative(r *pack.Reader, field string) int8 {
	v := r.Int(field)
	if r.Err() == nil && (v < -1 || v >= int64(len(alternatives))) {
		r.Fail(field, fmt.Errorf("%w: %d", errState, v))
		return -1
	}
	return int8(v)
}

func (b *baseline) append(w *pack.Writer) {
	w.Float(b.exposure)
	w.Float(b.events)
	w.Float(b.expected)
	w.Float(b.square)
	w.Uint(uint64(b.openEvents))
	w.Uint(uint64(b.openFrom))
	w.Uint(uint64(b.whole))
}

// Sums of a baseline are less: more than sums of that many integers can be,
// and quotients stay finite.
const mostSum, mostSquare = 1e20, 1e60

func readBaseline(r *pack.Reader, at int64) baseline {
	b := baseline{
		exposure: readReal(r, "exposure learnt", 0, mostSum), events: readReal(r, "events learnt", 0, mostSum),
		expected: readReal(r, "expected", 0, mostSquare), square: readReal(r, "squares", 0, mostSquare),
		openEvents: readCount(r, "events of the block"),
		openFrom:   int64(r.Uint("beginning of the block", uint64(at))),
		whole:      readCount(r, "learnt"),
	}
	if r.Err() == nil && b.exposure > 0 && b.exposure < 1 {
		r.Fail("exposure learnt", fmt.Errorf("%w: less than one", errState))
	}
	return b
}

// append writes the values in the order in which they came.
func (s *sample) append(w *pack.Writer) {
	w.Array(len(s.ring))
	for i := range s.ring {
		w.Float(s.ring[(s.next+i)%len(s.ring)])
	}
}

func readSample(r *pack.Reader, limit int, least, most float64) sample {
	s := newSample(limit)
	for n := r.Array("values", limit); n > 0 && r.Err() == nil; n-- {
		s.ring = append(s.ring, readReal(r, "value", least, most)+0)
	}
	s.sorted = slices.Clone(s.ring)
	slices.Sort(s.sorted)
	return s
}

// Snapshot writes the state; equal states have equal bytes.
func (s *Series) Snapshot(w *pack.Writer) {
	w.Uint(codecVersion)
	w.Uint(s.seen)
	w.Int(s.last)
	w.Array(len(s.gaps))
	for _, g := range s.gaps {
		w.Uint(uint64(g))
	}
	w.Uint(uint64(s.step))
	w.Int(s.usual)
	w.Float(s.told)
	s.values[0].append(w)
	for i := range s.seasons {
		q := &s.seasons[i]
		w.Array(len(q.times))
		for j, t := range q.times {
			w.Int(t)
			w.Float(q.values[j])
		}
		for j := range s.means[i] {
			m := &s.means[i][j]
			w.Float(m.sum)
			w.Float(m.weight)
			w.Uint(uint64(m.since))
			w.Int(m.quiet)
			m.past.append(w)
		}
	}
}

// Restore replaces the state by what [Series.Snapshot] wrote. After an error
// it is as before.
func (s *Series) Restore(r *pack.Reader) error {
	readVersion(r)
	fresh := NewSeries()
	fresh.seen = r.Uint("samples", math.MaxUint64)
	fresh.last = readMoment(r, "last")
	for n := r.Array("intervals", introduction-1); n > 0 && r.Err() == nil; n-- {
		fresh.gaps = append(fresh.gaps, readCount(r, "interval"))
	}
	fresh.setStep(readCount(r, "step"))
	fresh.usual = readMoment(r, "usual")
	fresh.told = readReal(r, "told", 0, MaxValue)
	fresh.values[0] = readSample(r, history, -MaxValue, MaxValue)
	for _, v := range fresh.values[0].ring {
		fresh.values[1].add(-v)
	}
	for i := range fresh.seasons {
		fresh.seasons[i].read(r)
		for j := range fresh.means[i] {
			fresh.means[i][j] = mean{
				sum: readReal(r, "sum", 0, 2*MaxValue), weight: readReal(r, "weight", 0, 1),
				since: readCount(r, "since"), quiet: readMoment(r, "quiet"),
				past: readSample(r, history, 0, 2*MaxValue),
			}
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("restore series: %w", err)
	}
	*s = *fresh
	return nil
}

// readMoment reads a time in the range that a series keeps to.
func readMoment(r *pack.Reader, field string) int64 {
	t := r.Int(field)
	if r.Err() == nil && (t > math.MaxInt64/4 || t < -math.MaxInt64/4) {
		r.Fail(field, fmt.Errorf("%w: %d", errState, t))
	}
	return t
}

func (s *season) read(r *pack.Reader) {
	for n := r.Array("season", most); n > 0 && r.Err() == nil; n-- {
		t, v := readMoment(r, "time"), readReal(r, "value", -MaxValue, MaxValue)
		if r.Err() == nil && len(s.times) > 0 && t < s.times[len(s.times)-1] {
			r.Fail("time", fmt.Errorf("%w: goes back", errState))
		}
		s.times, s.values = append(s.times, t), append(s.values, v)
	}
}
