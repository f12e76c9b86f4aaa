package clock

import (
	"math"
	"testing"
)

// producer writes lines that an agent polls every 100 ms.
type producer struct {
	s    SourceOffset
	mono int64
	skew int64 // producer's Unix time minus mono
}

// line is produced now, and appended delay later.
func (p *producer) line(delay int64) (point int64, flags SourceFlags, produced int64) {
	produced = p.mono
	p.mono += 10 * ms
	point, flags = p.s.Point(produced-100*ms, produced+delay, produced+p.skew)
	return point, flags, produced
}

func TestAProducersTimeIsUsedOnceLearnt(t *testing.T) {
	p := producer{mono: 1000 * sec, skew: 1_700_000_000*sec - 187*sec}
	for i := range int64(1000) {
		delay := 2*ms + i*7%90*ms
		point, flags, produced := p.line(delay)
		if flags != SourceUsed {
			t.Fatalf("line %d: flags %b", i, flags)
		}
		if i >= 100 && (point < produced || point > produced+3*ms) {
			t.Fatalf("line %d: point %d ns off", i, point-produced)
		}
	}
}

func TestAStepOfTheProducersClockRestarts(t *testing.T) {
	for name, step := range map[string]int64{"forward": 3600 * sec, "back": -3600 * sec} {
		t.Run(name, func(t *testing.T) {
			p := producer{mono: 1000 * sec, skew: 1_700_000_000 * sec}
			for range 300 {
				p.line(2 * ms)
			}
			p.skew += step
			stepped := 0
			for i := range 50 {
				point, flags, produced := p.line(2 * ms)
				if flags&SourceStepped != 0 {
					stepped++
				}
				if i >= sourceEarly && (flags != SourceUsed || point != produced+2*ms) {
					t.Fatalf("line %d after the step: point %d ns off, flags %b", i, point-produced, flags)
				}
			}
			if stepped != 1 {
				t.Errorf("flagged %d times, want once", stepped)
			}
		})
	}
}

func TestAStrayTimeIsSuspectAndTeachesNothing(t *testing.T) {
	p := producer{mono: 1000 * sec, skew: 1_700_000_000 * sec}
	for range 10 {
		p.line(2 * ms)
	}
	hi := p.mono + 2*ms
	if point, flags := p.s.Point(p.mono-100*ms, hi, p.mono+p.skew-86_400*sec); point != hi || flags != SourceSuspect {
		t.Errorf("yesterday's line: point %d, flags %b", point, flags)
	}
	if _, flags, _ := p.line(2 * ms); flags != SourceUsed {
		t.Errorf("the next line: flags %b", flags)
	}
	if point, flags := p.s.Point(0, hi, 0); point != hi || flags != 0 {
		t.Errorf("no time: point %d, flags %b", point, flags)
	}
}

func TestBufferedLinesAreNoStep(t *testing.T) {
	p := producer{mono: 1000 * sec, skew: 1_700_000_000 * sec}
	for range 50 {
		flush := p.mono + 900*ms // the producer writes once in 900 ms
		for p.mono < flush {
			produced := p.mono
			p.mono += 10 * ms
			if _, flags := p.s.Point(flush-100*ms, flush, produced+p.skew); flags&SourceStepped != 0 {
				t.Fatal("flagged as stepped")
			}
		}
	}
}

func FuzzSourceOffset(f *testing.F) {
	f.Add(int64(0), int64(10), int64(5), int64(100))
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, lo, hi, claimed, step int64) {
		var s SourceOffset
		for range 300 {
			point, _ := s.Point(lo, hi, claimed)
			if point < min(lo, hi) || point > hi {
				t.Fatalf("point %d outside [%d, %d]", point, lo, hi)
			}
			lo, hi, claimed = hi, add(hi, step), claimed*31+step
		}
	})
}
