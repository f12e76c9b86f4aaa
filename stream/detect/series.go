// Package detect tests one series at a time for a change, as early as the
// evidence suffices: [Rate] looks at how often events come, [Ratio] at the
// share of them that fail, [Level] at the height and the spread of values, and
// [Series] at values in time of which nothing is known, seasons included. All
// but the last have a stated run length, the mean time between false findings.
//
// The tests are pure state machines without clocks, goroutines or randomness.
// Floating point is IEEE 754 with each product rounded by itself, and the
// logarithm is that of package exact, so that the same series gives the same
// bytes on every machine. Each state is bounded, and has a snapshot.
package detect

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// DefaultThreshold is the score from which a [Series] makes a finding: what
// comes once in some 200 samples, or less often.
const DefaultThreshold = 2.3

const (
	// introduction is how many intervals are looked at to learn how far apart
	// the samples are.
	introduction = 16
	// again is by how many decades a surprise must exceed the one before.
	again = 0.5
	// patience is the share of its samples after which a series has half
	// forgotten a surprise, and forgetful the number it is at most.
	patience  = 0.2
	forgetful = 3000
	// history is how many values of a statistic are kept, and overlap how many
	// of them for each window.
	history = 2000
	overlap = 4
	// looks is how many averages are judged: the largest of so many is news
	// so many times as often.
	looks = 2 * len(scales)
	// MaxValue bounds values, so that differences and sums of them are finite.
	MaxValue = 1e300
)

// scales are the spans over which surprises are averaged, in shares of the
// shorter period: short enough to speak soon, and long enough that a single
// odd value among many usual ones is none.
var scales = [...]int64{32, 8}

// A Score is what a [Series] says of a sample.
type Score struct {
	Score    float64 // what of Surprise is news; 0 if a surprise as large was told lately
	Surprise float64 // decimal logarithm of how many samples go by, on average, until one is as odd
	From, To int64   // Unix nanoseconds between which it began
	Learning bool    // no season is known yet: only the value's own history was looked at
}

// Series scores the samples of one series, whose period nobody told. Each is
// compared with what was seen at the same time of the day and of the week (of
// the hour and the day, if samples are less than a minute apart); how far it
// is from all of that is averaged over two spans; and how rare such an average
// is in the history of the series makes the score. The first two cycles
// are compared with the range of values alone.
//
// The score is the logarithm of a run length, so one threshold means the same
// for every series. After a surprise only a larger one is news, until that is
// forgotten: a finding is its beginning.
//
// Not safe for concurrent use.
type Series struct {
	seen    uint64
	last    int64 // time of the latest sample
	gaps    []int64
	step    int64 // usual interval, nanoseconds; 0 until it is known
	seasons [2]season
	means   [2][len(scales)]mean
	values  [2]sample // the values, and their negatives
	usual   int64     // time of the latest value in the middle of its range
	told    float64   // surprise that was news, fading
}

// mean is a surprise averaged over a span, and its history.
type mean struct {
	sum, weight float64
	since       int64 // samples since one was kept
	quiet       int64 // time at which it was usual
	past        sample
}

// NewSeries returns a scorer that has seen nothing.
func NewSeries() *Series {
	s := &Series{values: [2]sample{newSample(history), newSample(history)}}
	for i := range s.means {
		for j := range s.means[i] {
			s.means[i][j].past = newSample(history)
		}
	}
	return s
}

// ErrValue reports a value that no series has.
var ErrValue = errors.New("not a value")

// Step scores the next sample: its time in Unix nanoseconds and its value. A
// time that is not later than the one before is taken as the same, so order
// decides. It fails, and changes nothing, if the value is no number or beyond
// [MaxValue].
func (s *Series) Step(t int64, v float64) (Score, error) {
	if math.IsNaN(v) || v > MaxValue || v < -MaxValue {
		return Score{}, fmt.Errorf("%w: %g: want a number up to ±%g", ErrValue, v, float64(MaxValue))
	}
	const far = math.MaxInt64 / 4 // so that sums with periods are in range
	t = min(max(t, -far), far)
	if s.seen == 0 {
		s.last, s.usual = t, t
	}
	t = max(t, s.last)
	s.introduce(t - s.last)
	out := Score{From: t, To: t, Learning: true}
	if s.step > 0 {
		s.compare(t, v, &out)
	}
	if out.Learning {
		s.inRange(t, v, &out)
	}
	for i := range s.values {
		s.values[i].add(v)
		v = -v
	}
	s.last = t
	s.seen++
	s.tell(&out)
	return out, nil
}

// introduce learns how far apart the samples are, from the first of them.
func (s *Series) introduce(gap int64) {
	if s.step > 0 || gap <= 0 {
		return
	}
	s.gaps = append(s.gaps, gap)
	if len(s.gaps) < introduction {
		return
	}
	slices.Sort(s.gaps)
	s.setStep(s.gaps[introduction/2])
	s.gaps = nil
}

// setStep chooses the periods for samples so far apart.
func (s *Series) setStep(step int64) {
	s.step = step
	periods := [2]time.Duration{24 * time.Hour, 7 * 24 * time.Hour}
	switch {
	case step <= int64(time.Second)/2:
		periods = [2]time.Duration{time.Minute, time.Hour}
	case step < int64(time.Minute):
		periods = [2]time.Duration{time.Hour, 24 * time.Hour}
	}
	for i := range s.seasons {
		s.seasons[i].period = int64(periods[i])
	}
}

// compare looks at the seasons.
func (s *Series) compare(t int64, v float64, out *Score) {
	base := s.seasons[0].period
	gap := min(t-s.last, 3*s.step) // a hole says nothing
	for i := range s.seasons {
		if far, ok := s.seasons[i].surprise(t, v, base/12); ok {
			out.Learning = false
			for j, part := range scales {
				s.means[i][j].step(t, far, gap, base/part, s.step, out)
			}
		}
		s.seasons[i].add(t, v)
	}
}

// step averages one more surprise in, by time, and judges the average.
func (m *mean) step(t int64, v float64, gap, span, step int64, out *Score) {
	share := float64(gap) / float64(span+gap)
	m.sum += float64(share * (v - m.sum))
	m.weight += float64(share * (1 - m.weight))
	if m.weight < 0.5 {
		return
	}
	v = m.sum / m.weight
	window := max(1, 2*float64(span)/float64(step)) // samples that count in an average
	stride := max(1, int64(window/overlap))
	if r := m.past.rarity(v, window/float64(stride)); r > 0 {
		out.consider(r+log10(window)-log10(float64(looks)), m.quiet, t)
	}
	if m.past.usual(v) {
		m.quiet = t
	}
	if m.since++; m.since >= stride {
		m.since = 0
		m.past.add(v)
	}
}

// consider keeps the larger surprise.
func (o *Score) consider(surprise float64, from, to int64) {
	if surprise > o.Surprise {
		o.Surprise, o.From, o.To = surprise, from, to
	}
}

// inRange compares with the values seen, at both ends. In the first cycle of
// the season only ranks count: how far a value is beyond those before may be
// what happens at this hour every day.
func (s *Series) inRange(t int64, v float64, out *Score) {
	rarity := (*sample).rank
	if known := s.seasons[0].times; len(known) > 0 && t-known[0] >= s.seasons[0].period {
		rarity = (*sample).rarity
	}
	// Two ends are looked at, and as if it were by all the averages to come: a
	// series shall not speak more often before it is known than after.
	often := log10(float64(2 * looks))
	for i := range s.values {
		out.consider(rarity(&s.values[i], v, 1)-often, s.usual, t)
		v = -v
	}
	if all := s.values[0].sorted; len(all) == 0 || v >= all[len(all)/4] && v <= all[len(all)*3/4] {
		s.usual = t
	}
}

// tell decides whether a surprise is news.
func (s *Series) tell(out *Score) {
	s.told -= s.told / max(1, min(forgetful, float64(patience*float64(s.seen+100))))
	if out.Surprise > s.told+again {
		out.Score = out.Surprise
		s.told = out.Surprise
	}
}
