package input

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"pando/event"
	"pando/event/clock"
)

const (
	// maxPutItems and maxPutBytes bound what one Put carries: enough to share
	// the cost of a WAL group, little enough to hold in memory twice. Each
	// connection of a listener holds as much, hence less than a tail.
	maxPutItems  = 512
	tailPutItems = 2048
	maxPutBytes  = 256 << 10

	// backlogAfter is how long a line may have waited unread until it counts
	// as read far behind.
	backlogAfter = 2 * time.Second

	// maxProducers bounds the clocks that one source learns: syslog has many
	// senders. The lines of further ones get the append as their point.
	maxProducers = 256
)

// seen is what is known of when a line came: not before at, if known.
type seen struct {
	at    int64 // monotonic ns of the last read that found the source at its end
	known bool
}

// outbox gathers items and hands them on, stamped. Not safe for concurrent
// use.
type outbox struct {
	sink   Sink
	stamps *stamper
	counts *metrics
	most   int // items of one Put

	items   []Item
	arrived []arrival // beside items
	bytes   int
}

type arrival struct {
	seen
	producer string
}

// next is the item to fill next, empty; add takes it in.
func (o *outbox) next() *Item {
	if len(o.items) == cap(o.items) {
		o.items = slices.Grow(o.items, max(1, len(o.items)))
	}
	it := &o.items[:len(o.items)+1][len(o.items)]
	*it = Item{}
	return it
}

func (o *outbox) add(size int, s seen, producer string) {
	o.items = o.items[:len(o.items)+1]
	o.arrived = append(o.arrived, arrival{s, producer})
	o.bytes += size
}

func (o *outbox) full() bool { return len(o.items) >= o.most || o.bytes >= maxPutBytes }

// flush stamps the items with now and puts them.
func (o *outbox) flush(ctx context.Context) error {
	if len(o.items) == 0 {
		return nil
	}
	o.stamps.stamp(o.items, o.arrived)
	if err := o.sink.Put(ctx, o.items); err != nil {
		return fmt.Errorf("put %d items: %w", len(o.items), err)
	}
	o.counts.took(len(o.items), o.bytes)
	clear(o.items)
	o.items, o.arrived, o.bytes = o.items[:0], o.arrived[:0], 0
	return nil
}

// stamper sets the times of events. Not safe for concurrent use.
type stamper struct {
	clock  func() int64
	wall   func() time.Time
	counts *metrics

	producers map[string]*clock.SourceOffset
}

func newStamper(now func() int64, wall func() time.Time, counts *metrics) *stamper {
	return &stamper{clock: now, wall: wall, counts: counts, producers: map[string]*clock.SourceOffset{}}
}

func (s *stamper) stamp(items []Item, arrived []arrival) {
	hi, wall := s.clock(), s.wall().UnixNano()
	for i := range items {
		e, a := &items[i].Event, &arrived[i]
		e.Stamp = event.Stamp{Lo: min(a.at, hi), Hi: hi, Point: hi}
		if !a.known {
			s.open(e, hi, wall)
			continue
		}
		if hi-e.Stamp.Lo > int64(backlogAfter) {
			e.Flags |= event.Backlog
		}
		if e.SourceTime == 0 {
			continue
		}
		offset := s.producer(a.producer)
		if offset == nil {
			s.counts.count(faultProducers, 1)
			continue
		}
		point, found := offset.Point(e.Stamp.Lo, hi, e.SourceTime)
		e.Stamp.Point, e.Flags = point, e.Flags.WithSource(found)
	}
}

// open stamps a line that was there when the source was first seen: its
// interval has no lower end. Its delay says nothing of its producer's clock,
// so nothing is learnt from it; the agent's own wall clock tells how old the
// line says it is, which is the best estimate there is.
func (s *stamper) open(e *event.Event, hi, wall int64) {
	e.Flags |= event.OpenStart | event.Backlog
	if e.SourceTime != 0 {
		age := wall - e.SourceTime
		overflow := e.SourceTime < 0 && age < 0
		if age >= 0 && hi >= math.MinInt64+age && !overflow {
			e.Stamp.Point = hi - age
			e.Flags |= event.PointFromSource
		} else {
			e.Flags |= event.SourceClockSuspect
		}
	}
	e.Stamp.Lo = e.Stamp.Point
}

// producer returns the learner of one producer's clock, nil for too many.
func (s *stamper) producer(name string) *clock.SourceOffset {
	o := s.producers[name]
	if o == nil && len(s.producers) < maxProducers {
		o = &clock.SourceOffset{}
		s.producers[name] = o
	}
	return o
}
