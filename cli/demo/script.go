//go:build !zos

package demo

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"pando/stream"
)

// line is one line that a system writes.
type line struct {
	at     time.Duration // since the scenario began
	series stream.Series // what it must come to at the root
	// text is the line, given its running number within its source and the
	// time on the writing system's own clock.
	text func(number int, wall time.Time) string
}

// script makes the lines of one source. Its random numbers depend on the seed
// and the source's name only, so the same seed gives the same lines.
type script struct {
	profile Profile
	random  *rand.Rand
	lines   []line
}

func newScript(p Profile, seed uint64, source string) *script {
	h := fnv.New64a()
	h.Write([]byte(source))
	return &script{profile: p, random: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// done returns the lines in the order of their time.
func (s *script) done() []line {
	slices.SortStableFunc(s.lines, func(a, b line) int { return int(a.at - b.at) })
	return s.lines
}

func (s *script) add(at time.Duration, entity, signal string, text func(int, time.Time) string) {
	s.lines = append(s.lines, line{at: at, series: stream.Series{Entity: entity, Signal: signal}, text: text})
}

// pace calls say at the times at which something happens so often a second,
// from one time to another. Pauses vary by two fifths.
func (s *script) pace(from, to time.Duration, perSecond func(at time.Duration) float64, say func(at time.Duration)) {
	for at := from; ; {
		pause := 0.6 + float64(0.8*s.random.Float64()) // of the mean; each product rounded on its own, alike on every machine
		at += time.Duration(float64(time.Second) / perSecond(at) * pause)
		if at >= to {
			return
		}
		say(at)
	}
}

// steadily is a pace that does not change.
func steadily(perSecond float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return perSecond }
}

// rampUp is how long retries take to multiply the rate of requests by ten.
const rampUp = 2 * time.Second

// retried is the pace of a service whose callers retry from one time on.
func retried(perSecond float64, from time.Duration) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		grown := float64(min(max(at-from, 0), rampUp)) / float64(rampUp)
		return perSecond * (1 + float64(9*grown))
	}
}

// hex returns n random bytes in hexadecimal digits, not all zero.
func (s *script) hex(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 2*n)
	for i := range b {
		b[i] = digits[s.random.IntN(len(digits))]
	}
	b[0] = digits[1+s.random.IntN(len(digits)-1)]
	return string(b)
}
