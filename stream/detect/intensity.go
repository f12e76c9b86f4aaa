package detect

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"

	"pando/internal/exact"
)

// Fixed point of the log-likelihood ratios: 2^-32 nats. An event weighs at
// most log 16 < 2^2, so maxEvents of them stay below 2^62.
const (
	nat       = 1 << 32
	maxEvents = 1 << 28 // at once; what is beyond counts as so many
	maxWeight = 1 << 60 // of evidence, and of one step of it
)

// maxFlaps bounds how often a change that comes back doubles the calm it
// needs: to sixteen times the configured one.
const maxFlaps = 4

// alternative is an intensity, relative to the baseline, that is tested for,
// and its share of all false findings. A doubling, the change that people ask
// about first, gets most of them, so that it is found nearly as soon as by a
// test that knows it; the rest keep the delay bounded for other changes.
type alternative struct {
	ratio float64
	share float64 // all shares together are 1
}

var alternatives = [...]alternative{
	{1.5, 0.1}, {2, 0.6}, {4, 0.1}, {16, 0.05}, {1.0 / 2, 0.1}, {1.0 / 8, 0.05},
}

// IntensityOptions are in units of exposure: whatever the events are counted
// against, be it nanoseconds, requests or samples.
type IntensityOptions struct {
	Direction Direction
	Unit      int64 // the intensity is stated in events per so much exposure; at least 1
	ARL       int64 // mean exposure from one false finding to the next; more than Unit
	Block     int64 // exposure by which the baseline is learnt and its dispersion measured
	Learn     int64 // exposure before anything is found
	Memory    int64 // time constant of the baseline
	Least     int64 // exposure from a change to its finding, at the least
	Hold      int64 // calm before a finding ends
	Rearm     int64 // after its end, in which it comes back as itself
	Adopt     int64 // a change that lasts so long is the new baseline
}

// validate reports all faults; show writes an exposure for people.
func (o *IntensityOptions) validate(show func(exposure int64) string) error {
	var faults []error
	want := func(name string, v, least, most int64) {
		if v < least || v > most {
			faults = append(faults, fmt.Errorf("%s is %s: want %s to %s", name, show(v), show(least), show(most)))
		}
	}
	const most = math.MaxInt64 / 64
	want("unit", o.Unit, 1, most)
	want("arl", o.ARL, o.Unit, most)
	want("block", o.Block, 1, most)
	want("learn", o.Learn, o.Block, most)
	want("memory", o.Memory, o.Block, most)
	want("least", o.Least, 0, most)
	want("hold", o.Hold, 0, most>>maxFlaps)
	want("rearm", o.Rearm, 0, most)
	want("adopt", o.Adopt, 1, most)
	if o.Direction > Falls {
		faults = append(faults, fmt.Errorf("direction is %d", o.Direction))
	}
	return errors.Join(faults...)
}

// Intensity is a sequential test of whether events came to be more or less
// frequent than they were: a bank of CUSUM tests (Page, "Continuous inspection
// schemes", Biometrika 1954; optimal by Moustakides, Annals of Statistics
// 1986), one for each of a few alternatives, that share the false findings
// (a mixture as in Shin, Ramdas and Rinaldo, "E-detectors", 2022).
//
// Under the baseline counts are negative binomial with the mean that was
// learnt and a variance that is a learnt multiple of it, the Fano factor, at
// least 1, which is Poisson. So the log-likelihood ratio of an alternative is
// linear in the count and the exposure: a step is one multiplication and one
// addition of integers. Baseline and Fano factor are decayed averages of whole
// blocks, up to the present one and not in it, without those of an open change.
//
// The threshold of each alternative comes from the asymptotics of the run
// length, E[T] = e^h/(I·ζ²) (Tartakovsky, Nikiforov and Basseville, Sequential
// Analysis, 2014, 8.2.6), in which the information I and the overshoot ζ have
// a closed form here. The baseline is taken one standard error nearer to the
// alternative, which pays for not knowing it exactly.
//
// Not safe for concurrent use. Steps have no error: the state is valid for
// every sequence of counts.
type Intensity struct {
	opts IntensityOptions
	at   int64 // exposure so far
	base baseline
	// fresh is the baseline since the open change began; adopted if that lasts.
	fresh baseline
	tests [len(alternatives)]cusum

	open     int8  // index of the alternative that was found; -1 for none
	openedAt int64 // exposure at which it was
	onset    int64 // and at which the change began
	calm     int64 // exposure since which the open change does not show; -1 while it does
	rearm    int64 // exposure up to which the last change comes back as itself
	last     int8  // alternative of the last change; -1 for none
	flaps    uint8 // how often it came back
}

// cusum is the evidence for one alternative.
type cusum struct {
	weight int64 // nats/2^32; from 0 to twice the threshold
	zero   int64 // exposure at which it was last 0: the likeliest beginning of a change
	events int64 // since then

	// Derived from the baseline at the end of a block.
	event     int64 // weight of an event; negative for falls
	drift     int64 // weight of a Unit of exposure; of the other sign
	threshold int64
}

// A Change is what a test finds: it begins, and it ends.
type Change struct {
	Ended    bool // the change found before is over
	Adopted  bool // with Ended: it lasted, and is the baseline now
	Returned bool // the change is one that ended a short while ago
	Up       bool
	From, To int64   // exposures between which it began
	At       int64   // exposure now
	Score    int64   // evidence in thousandths of what suffices
	Baseline float64 // events per Unit before
	Now      float64 // events per Unit since From; 0 if Ended
	Fano     float64 // variance over mean of the counts of a block, before
}

// NewIntensity returns a test without a baseline.
func NewIntensity(o IntensityOptions) (*Intensity, error) {
	return newIntensity(o, func(exposure int64) string { return strconv.FormatInt(exposure, 10) })
}

func newIntensity(o IntensityOptions, show func(exposure int64) string) (*Intensity, error) {
	if err := o.validate(show); err != nil {
		return nil, fmt.Errorf("intensity test: %w", err)
	}
	return &Intensity{opts: o, open: -1, calm: -1, last: -1}, nil
}

// restart forgets everything but the exposure.
func (t *Intensity) restart() {
	*t = Intensity{opts: t.opts, at: t.at, base: baseline{openFrom: t.at}, open: -1, calm: -1, last: -1}
	for i := range t.tests {
		t.tests[i].zero = t.at
	}
}

// skip passes over one unit of exposure in which nothing could be seen.
func (t *Intensity) skip() {
	t.at++
	t.base.openFrom = t.at
	for i := range t.tests {
		t.tests[i].zero = t.at
	}
}

// Learning reports whether the baseline is not known well enough yet.
func (t *Intensity) Learning() bool { return t.base.whole < t.opts.Learn }

// Baseline is what is expected, in events per Unit.
func (t *Intensity) Baseline() float64 { return t.base.mean() * float64(t.opts.Unit) }

// Observe steps so much exposure in which so many events came. Both are taken
// as not negative. It returns a change that began or ended with it; ok tells
// whether there is one.
func (t *Intensity) Observe(exposure, events int64) (c Change, ok bool) {
	exposure = min(max(exposure, 0), math.MaxInt64-t.at)
	events = min(max(events, 0), maxEvents)
	t.at += exposure
	if !t.Learning() {
		c, ok = t.test(exposure, events)
	}
	t.learn(events)
	return c, ok
}

// test steps all alternatives, and looks at the open one first.
func (t *Intensity) test(exposure, events int64) (Change, bool) {
	found := int8(-1)
	for i := range t.tests {
		s := &t.tests[i]
		if s.threshold == 0 {
			continue // not a direction to look for
		}
		s.step(t.at, exposure, events, t.opts.Unit)
		if s.weight >= s.threshold && t.at-s.zero >= t.opts.Least &&
			(found < 0 || scaled(s) > scaled(&t.tests[found])) {
			found = int8(i)
		}
	}
	if t.open >= 0 {
		return t.watch(events)
	}
	if found < 0 {
		return Change{}, false
	}
	return t.begin(found), true
}

// scaled is the evidence in thousandths of what suffices.
func scaled(s *cusum) int64 {
	return int64(float64(s.weight) / float64(s.threshold) * 1000)
}

// step adds what the events say of the alternative, against what the exposure
// without them says.
func (s *cusum) step(at, exposure, events, unit int64) {
	s.events = min(s.events+events, math.MaxInt64/2)
	s.weight += portion(s.drift, exposure, unit) + s.event*events
	switch {
	case s.weight <= 0:
		s.weight, s.zero, s.events = 0, at, 0
	case s.weight > 2*s.threshold:
		s.weight = 2 * s.threshold // a change that is over must show
	}
}

// portion is drift·exposure/unit, without overflow.
func portion(drift, exposure, unit int64) int64 {
	magnitude := uint64(max(drift, -drift))
	hi, lo := bits.Mul64(magnitude, uint64(exposure))
	result := int64(maxWeight)
	if hi < uint64(unit) {
		if q, _ := bits.Div64(hi, lo, uint64(unit)); q < maxWeight {
			result = int64(q)
		}
	}
	if drift < 0 {
		return -result
	}
	return result
}

// begin opens a change.
func (t *Intensity) begin(found int8) Change {
	s := &t.tests[found]
	returned := t.last >= 0 && t.at < t.rearm && up(t.last) == up(found)
	if returned {
		t.flaps = min(t.flaps+1, maxFlaps)
	} else {
		t.flaps, t.onset = 0, s.zero
	}
	t.open, t.openedAt, t.calm = found, t.at, -1
	t.fresh = baseline{openFrom: t.at}
	c := t.change(found)
	c.Returned = returned
	return c
}

func up(alternative int8) bool { return alternatives[alternative].ratio > 1 }

// change describes the open change.
func (t *Intensity) change(found int8) Change {
	s := &t.tests[found]
	c := Change{
		Up: up(found), From: t.onset, To: t.at, At: t.at, Score: scaled(s),
		Baseline: t.Baseline(), Fano: t.base.fano(),
	}
	if span := t.at - s.zero; span > 0 {
		c.Now = float64(s.events) / float64(span) * float64(t.opts.Unit)
	}
	return c
}

// watch looks at an open change, whether it is over.
func (t *Intensity) watch(events int64) (Change, bool) {
	s := &t.tests[t.open]
	switch {
	case 2*s.weight >= s.threshold:
		t.calm = -1
	case t.calm < 0:
		t.calm = t.at
	}
	adopted := t.at-t.openedAt >= t.opts.Adopt
	if !adopted && (t.calm < 0 || t.at-t.calm < t.opts.Hold<<t.flaps) {
		t.fresh.openEvents += events
		return Change{}, false
	}
	c := t.change(t.open)
	c.Ended, c.Adopted, c.Now = true, adopted && t.calm < 0, 0
	if c.Adopted {
		t.fresh.openEvents += events
		t.fresh.close(t.at, t.opts.Memory)
		// The dispersion of the change's own blocks is not known: they were
		// never predicted. The old one stands until they are.
		t.fresh.expected, t.fresh.square = t.base.expected, t.base.square
		t.fresh.whole = min(t.fresh.whole+t.base.whole, math.MaxInt64/2)
		t.base = t.fresh
	}
	t.base.openFrom, t.base.openEvents = t.at, 0
	t.last, t.rearm, t.open, t.calm = t.open, t.at+min(t.opts.Rearm, math.MaxInt64-t.at), -1, -1
	for i := range t.tests {
		t.tests[i].weight, t.tests[i].zero, t.tests[i].events = 0, t.at, 0
	}
	t.derive()
	return c, true
}

// learn adds the events to the present block, and ends it in time. What comes
// while a change is open is no part of the baseline.
func (t *Intensity) learn(events int64) {
	if t.open >= 0 {
		return
	}
	b := &t.base
	b.openEvents += events
	if t.at-b.openFrom >= t.opts.Block {
		b.close(t.at, t.opts.Memory)
		t.derive()
	}
}

// derive computes weights and thresholds from the baseline.
func (t *Intensity) derive() {
	fano := t.base.fano()
	off := math.Sqrt(fano / (t.base.events + 0.5)) // standard error, relative
	for i, alt := range alternatives {
		s := &t.tests[i]
		rises := alt.ratio > 1
		if t.opts.Direction == Rises && !rises || t.opts.Direction == Falls && rises {
			continue
		}
		mean := t.base.mean() * float64(t.opts.Unit)
		if rises {
			mean = float64(mean * (1 + off))
		} else {
			mean = float64(mean * (1 - min(off, 1))) // what hardly ever happened cannot fall
		}
		s.derive(alt, mean, fano, float64(t.opts.ARL)/float64(t.opts.Unit))
	}
}

// derive is for an intensity mean per Unit and a run length arl in Units.
//
// With F the Fano factor and r the alternative's ratio, a count x over a mean
// m has the log-likelihood ratio x·event - m·drift of two negative binomial
// distributions of one size m/(F-1).
func (s *cusum) derive(alt alternative, mean, fano, arl float64) {
	r := alt.ratio
	u := float64((r-1)*(fano-1)) / fano
	l := log1p(u)
	event := exact.Log(r) - l
	drift := (r - 1) / fano
	if fano-1 > 1e-9 {
		drift = l / (fano - 1)
	}
	before, after := drift-event, float64(r*event)-drift // per expected event: what is lost under the baseline, and gained under the alternative
	information := float64(mean * after)
	overshoot := 1.0 // evidence for a fall grows without jumps
	if r > 1 {
		overshoot = before / after // Cramér and Lundberg's constant
	}
	length := float64(information*arl) / alt.share
	h := 1.0
	for range 3 { // e^h/ζ² = I·E[T] + h + 1
		h = max(1, exact.Log(float64(float64(overshoot*overshoot)*(length+h+1))))
	}
	s.event, s.drift, s.threshold = fixed(event), -fixed(float64(drift*mean)), fixed(h)
}

// log1p is log(1+u), exact near 0 too.
func log1p(u float64) float64 {
	if u < 1e-3 && u > -1e-3 {
		return float64(u * (1 - float64(u*(0.5-float64(u*(1.0/3-float64(u*0.25)))))))
	}
	return exact.Log(1 + u)
}

// fixed is v nats in fixed point; v is finite.
func fixed(v float64) int64 {
	v = float64(v * nat)
	return int64(max(min(v, maxWeight), -maxWeight))
}
