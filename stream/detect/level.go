package detect

import (
	"fmt"
	"math"
)

// LevelOptions configure a [Level], in samples.
type LevelOptions struct {
	ARL    int64 `yaml:"arl"`    // samples from one false finding to the next, of values that are exchangeable
	Learn  int64 `yaml:"learn"`  // before anything is found
	Memory int64 `yaml:"memory"` // time constant of the baseline
	Hold   int64 `yaml:"hold"`   // calm before a finding ends
	Rearm  int64 `yaml:"rearm"`  // after its end, in which it comes back as itself
	Adopt  int64 `yaml:"adopt"`  // a change that lasts so long is the new baseline
}

// DefaultLevelOptions find a false change in a hundred thousand samples.
func DefaultLevelOptions() LevelOptions {
	return LevelOptions{ARL: 100_000, Learn: 400, Memory: 2000, Hold: 50, Rearm: 200, Adopt: 1000}
}

const (
	// fenceValues are the samples that the fences come from.
	fenceValues = 512
	// fenceShare of them lie beyond each fence: far enough out that a shift
	// multiplies what is there, and enough of them for a sure estimate.
	fenceShare = 10
	// levelBlock is the number of samples by which their share beyond the
	// fences is learnt; then the fences move.
	levelBlock = 32
)

// Aspect is what a [LevelChange] is about.
type Aspect uint8

// The aspects.
const (
	LevelShift  Aspect = iota // the values are higher, or lower
	SpreadShift               // they scatter wider, or less
)

// LevelChange is what a [Level] finds.
type LevelChange struct {
	Change
	Aspect Aspect
}

// Level tests whether values came to be higher, lower, wider or narrower. It
// looks only at which of them lie beyond two fences, the tenths at the ends of
// what was learnt, as quantile tests do (Mood, "Introduction to the Theory of
// Statistics", 1950, 16.5): each is the [Intensity] of such values among all.
// So heavy tails do not matter, no unit does, and nothing is divided by a
// spread, which may be zero.
//
// From, To and At of a change are numbers of samples.
type Level struct {
	values sample
	lo, hi float64 // fences; set at the first block
	count  int64
	above  Intensity
	below  Intensity
	beyond Intensity // both
	told   [3]bool   // the open change of above, below, beyond is one that was told
}

// NewLevel returns a test that has learnt nothing.
func NewLevel(o LevelOptions) (*Level, error) {
	l := &Level{values: newSample(fenceValues)}
	for _, t := range []struct {
		test      *Intensity
		direction Direction
	}{{&l.above, Rises}, {&l.below, Rises}, {&l.beyond, Both}} {
		made, err := NewIntensity(IntensityOptions{
			Direction: t.direction, Unit: 1, ARL: 3 * min(o.ARL, math.MaxInt64/256), // three tests share the findings
			Block: levelBlock, Learn: o.Learn, Memory: o.Memory, Hold: o.Hold, Rearm: o.Rearm, Adopt: o.Adopt,
		})
		if err != nil {
			return nil, fmt.Errorf("level: %w", err)
		}
		*t.test = *made
	}
	return l, nil
}

// Learning reports whether the baseline is not known well enough yet.
func (l *Level) Learning() bool { return l.above.Learning() }

// Fences are the values beyond which a tenth of them lies at each end.
func (l *Level) Fences() (lo, hi float64) { return l.lo, l.hi }

// Step takes the next value; what is no number is passed over.
func (l *Level) Step(v float64) (LevelChange, bool) {
	if math.IsNaN(v) {
		return LevelChange{}, false
	}
	if l.count < levelBlock {
		for _, t := range []*Intensity{&l.above, &l.below, &l.beyond} {
			t.skip()
		}
		l.learn(v)
		return LevelChange{}, false
	}
	var above, below int64
	if v > l.hi {
		above = 1
	}
	if v < l.lo {
		below = 1
	}
	up, wasUp := l.above.Observe(1, above)
	down, wasDown := l.below.Observe(1, below)
	wide, wasWide := l.beyond.Observe(1, above+below)
	if up.Adopted || down.Adopted || wide.Adopted {
		l.Restart()
	} else if !l.changed() {
		l.learn(v)
	}
	switch {
	case wasUp && l.tells(0, up, !l.below.leans()):
		return LevelChange{Change: up}, true
	case wasDown && l.tells(1, down, !l.above.leans()):
		down.Up = false // more values are below
		return LevelChange{Change: down}, true
	case wasWide && l.tells(2, wide, !wide.Up || l.above.leans() && l.below.leans()):
		return LevelChange{Change: wide, Aspect: SpreadShift}, true
	}
	return LevelChange{}, false
}

// tells decides whether a change is told: one side gained alone, then it is a
// shift; both did, then it is the spread. The end is told if the beginning was.
func (l *Level) tells(which int, c Change, this bool) bool {
	if c.Ended {
		this, l.told[which] = l.told[which], false
		return this
	}
	l.told[which] = this
	return this
}

// At is how many samples were stepped.
func (l *Level) At() int64 { return l.above.at }

// Since is the number of the sample since which there is evidence for any
// change, that of the latest if there is none.
func (l *Level) Since() int64 {
	return min(l.above.Since(), l.below.Since(), l.beyond.Since())
}

// Restart learns anew, and forgets an open change: the fences of the values
// before say nothing of those that come.
func (l *Level) Restart() {
	l.values, l.count, l.told = newSample(fenceValues), 0, [3]bool{}
	for _, t := range []*Intensity{&l.above, &l.below, &l.beyond} {
		t.restart()
	}
}

// changed reports whether a change is open: its values are no baseline.
func (l *Level) changed() bool {
	return l.above.open >= 0 || l.below.open >= 0 || l.beyond.open >= 0
}

// leans reports whether there is a tenth of the evidence for a rise.
func (t *Intensity) leans() bool {
	for i := range t.tests {
		if s := &t.tests[i]; up(int8(i)) && s.threshold > 0 && scaled(s) >= 100 {
			return true
		}
	}
	return false
}

// learn keeps a value, and sets the fences at the end of a block.
func (l *Level) learn(v float64) {
	l.values.add(v)
	l.count = min(l.count+1, math.MaxInt64-1)
	if l.count%levelBlock == 0 {
		sorted := l.values.sorted
		l.lo, l.hi = sorted[len(sorted)/fenceShare], sorted[len(sorted)-1-len(sorted)/fenceShare]
	}
}
