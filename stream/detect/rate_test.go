package detect

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// nullHours lengthens the null test: 10,000 hours of the fast series take a
// processor an hour. Without it each series has as many as take some seconds.
var nullHours = flag.Int64("null-hours", 0, "simulated hours of each series in the null test; 0: as listed")

const second = int64(time.Second)

// arrivals draws the ticks in which events come, and how many: negative
// binomial counts of a tick with a mean and a Fano factor, as a Poisson number
// of logarithmic groups (Quenouille 1949). Empty ticks are skipped over by
// their geometric length.
type arrivals struct {
	r     *rand.Rand
	rate  float64 // events a second
	fano  float64
	empty float64 // log probability of an empty tick
	tick  int64   // number of the latest one drawn
}

func newArrivals(r *rand.Rand, rate, fano float64) *arrivals {
	a := &arrivals{r: r, rate: rate, fano: fano}
	a.empty = -a.groups()
	return a
}

// groups is the mean number of groups in a tick.
func (a *arrivals) groups() float64 {
	mean := a.rate * Tick.Seconds()
	if a.fano <= 1 {
		return mean
	}
	return mean / (a.fano - 1) * math.Log(a.fano)
}

// next returns the next tick with events.
func (a *arrivals) next() (tick, events int64) {
	a.tick += 1 + int64(math.Log(1-a.r.Float64())/a.empty)
	for n := a.atLeastOne(a.groups()); n > 0; n-- {
		events += a.group()
	}
	return a.tick, events
}

// atLeastOne draws from a Poisson distribution without zero.
func (a *arrivals) atLeastOne(mean float64) int64 {
	if mean > 20 { // zero does not happen, and a normal is near enough
		return max(1, int64(mean+math.Sqrt(mean)*a.r.NormFloat64()+0.5))
	}
	// The first arrival lies within the tick; the rest follow.
	at := -math.Log(1 - a.r.Float64()*(1-math.Exp(-mean)))
	n := int64(1)
	for at += a.r.ExpFloat64(); at < mean; at += a.r.ExpFloat64() {
		n++
	}
	return n
}

// group draws from the logarithmic distribution (Kemp 1981, LS).
func (a *arrivals) group() int64 {
	if a.fano <= 1 {
		return 1
	}
	p := 1 - 1/a.fano
	u := a.r.Float64()
	n, t := int64(1), -p/math.Log(1-p)
	for ; u > t && n < 1e6; n++ {
		u -= t
		t *= p * float64(n) / float64(n+1)
	}
	return n
}

func quickRate(arl time.Duration) RateOptions {
	o := DefaultRateOptions()
	o.ARL, o.Hold, o.Rearm = arl, time.Second, 0
	return o
}

// TestRateNull measures the run length on series that do not change.
func TestRateNull(t *testing.T) {
	for _, c := range []struct {
		rate, fano float64
		hours      int64 // without -null-hours
	}{{0.05, 1, 4000}, {1, 1, 1000}, {1, 4, 1000}, {100, 1, 40}, {100, 10, 40}, {10000, 1, 4}, {10000, 50, 4}} {
		for _, arl := range []time.Duration{time.Hour, 10 * time.Hour} {
			t.Run(fmt.Sprintf("rate=%g/fano=%g/arl=%v", c.rate, c.fano, arl), func(t *testing.T) {
				hours := max(c.hours/slower, 4)
				if *nullHours > 0 {
					hours = *nullHours
				} else if testing.Short() {
					hours = max(hours/10, 10)
				}
				found := nullRun(t, quickRate(arl), newArrivals(rand.New(rand.NewPCG(1, uint64(c.rate*8+c.fano))), c.rate, c.fano), hours)
				// Three standard errors of the count, which is near Poisson.
				want := float64(hours) / arl.Hours()
				t.Logf("%d found in %d h, at most %.0f wanted: run length %.2f of the configured one", found, hours, want, want/max(float64(found), 1))
				if limit := want + 3*math.Sqrt(want); float64(found) > limit && found > 1 {
					t.Errorf("%d false findings in %d h, want at most %.0f", found, hours, limit)
				}
			})
		}
	}
}

func nullRun(t *testing.T, o RateOptions, a *arrivals, hours int64) (found int) {
	r, err := NewRate(o)
	if err != nil {
		t.Fatal(err)
	}
	for end := hours * int64(time.Hour/Tick); a.tick < end; {
		tick, events := a.next()
		now := tick * int64(Tick)
		for now > r.Due() {
			if c, ok := r.Step(r.Due(), 0); ok && !c.Ended {
				found++
			}
		}
		if c, ok := r.Step(now, events); ok && !c.Ended {
			found++
		}
	}
	return found
}

// TestRatePower compares the delay until a doubling is found with that of the
// CUSUM test that knows both rates, which is optimal, with its threshold set to
// the same run length of an hour by simulation. Both begin without evidence,
// which is the worst case that Lorden's criterion goes by.
func TestRatePower(t *testing.T) {
	for _, rate := range []float64{1, 100, 10000} {
		t.Run(fmt.Sprintf("rate=%g", rate), func(t *testing.T) {
			r := rand.New(rand.NewPCG(2, uint64(rate)))
			best := newKnowing(rate, 2)
			best.calibrate(r, rate, time.Hour)
			learnt := learntRate(t, r, rate)
			var ours, theirs []float64
			runs := 2000 // the median of delays that scatter is known to 2 %
			if testing.Short() || rate > 1 {
				runs = 500
			}
			for range runs {
				mine := *learnt // a value: each run begins with the same state
				best.weight, best.tick = 0, 0
				begin := mine.last / int64(Tick)
				a := newArrivals(r, 2*rate, 1)
				o, b := int64(0), int64(0)
				for o == 0 || b == 0 {
					tick, events := a.next()
					if c, ok := mine.Step((begin+tick)*int64(Tick), events); ok && !c.Ended && o == 0 {
						o = tick
					}
					if best.step(tick, events) && b == 0 {
						b = tick
					}
				}
				ours = append(ours, float64(o)*Tick.Seconds())
				theirs = append(theirs, float64(b)*Tick.Seconds())
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			o, b := ours[len(ours)/2], theirs[len(theirs)/2]
			t.Logf("median delay %.2f s, of the optimum %.2f s: %.2f times it", o, b, o/b)
			if o > 1.2*b {
				t.Errorf("median delay %.2f s, want at most 1.2 times %.2f s", o, b)
			}
		})
	}
}

// learntRate is a test with an hour's run length after eight hours of a rate.
func learntRate(t *testing.T, r *rand.Rand, rate float64) *Rate {
	m, err := NewRate(quickRate(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	// Whole blocks, of which only the sum counts for the baseline.
	now := second
	for range 8 * 720 {
		now += int64(rateBlock)
		mean := rate * rateBlock.Seconds()
		n := int64(0)
		if r.Float64() > math.Exp(-mean) {
			n = (&arrivals{r: r}).atLeastOne(mean)
		}
		m.test.at += int64(rateBlock)
		m.test.learn(n)
		m.last = now
	}
	return m
}

// knowing is the CUSUM test of one rate against a multiple of it.
type knowing struct {
	weight, event, drift, threshold float64
	tick                            int64
}

func newKnowing(rate, ratio float64) *knowing {
	return &knowing{event: math.Log(ratio), drift: rate * (ratio - 1) * Tick.Seconds()}
}

func (k *knowing) step(tick, events int64) bool {
	idle := float64(tick - k.tick - 1)
	k.weight = max(0, max(0, k.weight-idle*k.drift)-k.drift+float64(events)*k.event)
	k.tick = tick
	return k.weight >= k.threshold
}

// calibrate finds the threshold at which the mean run length is arl, from the
// maxima between the returns to zero of one long run: a threshold is passed as
// often as there are maxima above it.
func (k *knowing) calibrate(r *rand.Rand, rate float64, arl time.Duration) {
	hours := max(1000/rate, 20)
	a := newArrivals(r, rate, 1)
	k.threshold = math.Inf(1)
	var maxima []float64
	top := 0.0
	for end := int64(hours * 3600 / Tick.Seconds()); a.tick < end; {
		tick, events := a.next()
		if k.weight <= float64(tick-k.tick-1)*k.drift { // back at zero before these came
			maxima, top = append(maxima, top), 0
		}
		k.step(tick, events)
		top = max(top, k.weight)
	}
	slices.Sort(maxima)
	passed := int(hours / arl.Hours())
	k.threshold, k.weight, k.tick = maxima[len(maxima)-passed], 0, 0
}
