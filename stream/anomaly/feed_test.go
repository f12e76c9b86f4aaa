package anomaly

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pando/event"
)

// feed is one agent's random traffic into one engine: batches every 50 ms,
// heartbeats every 250 ms, each lane as late as it is told to be.
type feed struct {
	t      *testing.T
	e      *Engine
	r      *rand.Rand
	now    int64
	seq    [event.Lanes]uint64
	lag    [event.Lanes]int64
	queue  [event.Lanes][]event.Event // by time
	crowds []*crowd
	said   []Finding
}

// crowd says one signal at random moments, independently of each other.
type crowd struct {
	entity, signal string
	lane           event.Lane
	rate           float64 // events a second
	next           float64 // moment of the next one, seconds since dawn
}

const feedStep = 50 * milli

func newFeed(t *testing.T, c Config, seed uint64) *feed {
	e, err := NewEngine(c)
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{t: t, e: e, r: rand.New(rand.NewPCG(seed, 11)), now: dawn}
	e.Tick(dawn)
	for l := range event.Lane(event.Lanes) {
		e.Present(f.unit(l))
	}
	for l := range event.Lane(event.Lanes) {
		e.Claimed(f.unit(l), Expectations{})
	}
	return f
}

func (f *feed) unit(l event.Lane) event.Unit { return event.Unit{Origin: "east/a", WAL: 1, Lane: l} }

func (f *feed) crowd(entity, signal string, lane event.Lane, rate float64) *crowd {
	c := &crowd{entity: entity, signal: signal, lane: lane, rate: rate, next: float64(f.now-dawn) / 1e9}
	f.crowds = append(f.crowds, c)
	return c
}

// pass lets time go by, and returns what was said meanwhile.
func (f *feed) pass(d time.Duration) []Finding {
	f.said = nil
	for end := f.now + int64(d); f.now < end; {
		f.now += feedStep
		f.draw()
		for l := range event.Lane(event.Lanes) {
			f.deliver(l)
		}
		if (f.now-dawn)%(250*milli) == 0 {
			for l := range event.Lane(event.Lanes) {
				f.seq[l]++
				ev := event.Event{Seq: f.seq[l], Kind: event.Heartbeat, Source: "access", Signal: readable}
				f.said = append(f.said, f.e.Heartbeat(f.unit(l), &ev, f.now-f.lag[l])...)
			}
		}
		f.said = append(f.said, f.e.Tick(f.now)...)
	}
	return f.said
}

// draw makes the events of a step.
func (f *feed) draw() {
	for _, c := range f.crowds {
		for c.rate > 0 && dawn+int64(c.next*1e9) <= f.now {
			at := dawn + int64(c.next*1e9)
			f.queue[c.lane] = append(f.queue[c.lane], event.Event{Source: "access", Entity: c.entity, Signal: c.signal,
				Severity: event.SeverityInfo, Stamp: event.Stamp{Lo: at, Hi: at, Point: at}})
			c.next += f.r.ExpFloat64() / c.rate
		}
		if c.rate == 0 {
			c.next = float64(f.now-dawn) / 1e9
		}
	}
	for l := range f.queue {
		slices.SortStableFunc(f.queue[l], func(a, b event.Event) int { return int(a.Stamp.Point - b.Stamp.Point) })
	}
}

// deliver hands over what of a lane is due.
func (f *feed) deliver(l event.Lane) {
	n, _ := slices.BinarySearchFunc(f.queue[l], f.now-f.lag[l]+1, func(e event.Event, at int64) int { return int(e.Stamp.Point - at) })
	if n == 0 {
		return
	}
	batch := slices.Clone(f.queue[l][:n])
	f.queue[l] = slices.Delete(f.queue[l], 0, n)
	for i := range batch {
		f.seq[l]++
		batch[i].Seq = f.seq[l]
	}
	a := arrivalOf(f.unit(l), batch...)
	a.At = f.now
	f.e.Begin(a)
	for i := range batch {
		f.said = append(f.said, f.e.Observe(i)...)
	}
}

// begun returns the findings that are the first of their kind.
func begun(fs []Finding) (out []Finding) {
	for _, f := range fs {
		if f.Revision == 1 {
			out = append(out, f)
		}
	}
	return out
}
