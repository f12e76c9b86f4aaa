package event

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pando/event/clock"
	"pando/event/hlc"
)

// largestPositions are as many and as long as a header may have.
func largestPositions() []Position {
	positions := make([]Position, MaxPositions)
	for i := range positions {
		positions[i] = Position{Source: fmt.Sprintf("%064d", i), Offset: math.MaxInt64}
	}
	return positions
}

// hostile is an event on which no column saves anything.
func hostile(rng *rand.Rand) Event {
	name := func() string { return fmt.Sprintf("%x%x", rng.Uint64(), rng.Uint64())[:1+rng.IntN(20)] }
	e := Event{HLC: hlc.Timestamp(rng.Uint64()), Criticality: 1 + uint8(rng.IntN(3)), Kind: Kind(rng.IntN(4)), Flags: Flags(rng.IntN(16)),
		Severity: Severity(rng.IntN(25)), SourceTime: int64(rng.Uint64()), Value: rng.NormFloat64(),
		Source: name(), Entity: name(), Signal: name(), Peer: name(),
		TraceID: [16]byte{1, byte(rng.Uint32())}, SpanID: [8]byte{2}, ParentID: [8]byte{3}, Raw: []byte(name())}
	e.Stamp.Hi = int64(rng.Uint64())
	e.Stamp.Lo = math.MinInt64 + int64(rng.Uint64N(uint64(e.Stamp.Hi)-1<<63+1))
	e.Stamp.Point = e.Stamp.Lo
	for i := range rng.IntN(4) {
		e.Attrs = append(e.Attrs, Attr{Key: fmt.Sprint(i) + name(), Value: name()})
	}
	return e
}

func TestWhatABuilderTakesCanBeEncoded(t *testing.T) {
	largest := Event{Criticality: 1, Raw: make([]byte, MaxRaw)}
	for i := range 3 {
		largest.Attrs = append(largest.Attrs, Attr{fmt.Sprint(i), strings.Repeat("x", MaxString)})
	}
	largest.Attrs = append(largest.Attrs, Attr{"3", strings.Repeat("x", MaxString-4)})
	if err := largest.Validate(); err != nil {
		t.Fatal(err)
	}
	largest.Attrs[3].Value += "x"
	if err := largest.Validate(); err == nil {
		t.Fatal("not the largest")
	}
	largest.Attrs[3].Value = largest.Attrs[3].Value[1:]

	rng := rand.New(rand.NewPCG(1, 1))
	for name, next := range map[string]func() Event{
		"hostile": func() Event { return hostile(rng) },
		"largest": func() Event { return largest },
		"plain":   func() Event { return plain(1)[0] },
	} {
		var b Builder
		for b.Add(next()) {
		}
		bound := b.Bytes() + batchOverhead + MaxPositionBytes + MaxPositions*positionOverhead
		batch := b.Build(testUnit(Bulk), 1, clock.Boot{}, largestPositions())
		out, err := batch.Encode(nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(out) > bound {
			t.Errorf("%s: %d bytes, at most %d expected", name, len(out), bound)
		}
		if got, err := Decode(out); err != nil || !equal(got, batch) {
			t.Errorf("%s: does not survive (error %v)", name, err)
		}
		if b.Len() != 0 || b.Bytes() != 0 {
			t.Errorf("%s: not empty after Build", name)
		}
	}
}

func TestABuilderKeepsItsOwnLimits(t *testing.T) {
	b := Builder{MaxEvents: 3}
	for i := range 4 {
		if got := b.Add(plain(1)[0]); got != (i < 3) {
			t.Errorf("event %d: %v", i, got)
		}
	}
	b = Builder{MaxBytes: 1}
	if !b.Add(plain(1)[0]) || b.Add(plain(1)[0]) {
		t.Error("want room for one event, and no more")
	}
}
