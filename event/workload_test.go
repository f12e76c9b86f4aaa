package event

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"pando/event/clock"
	"pando/event/hlc"
)

// testUnit is the unit of most test batches.
func testUnit(lane Lane) Unit {
	return Unit{Origin: "eu-west/lpar-a", WAL: 0x0123456789abcdef, Lane: lane}
}

// batchOf numbers the events and puts them into a batch.
func batchOf(lane Lane, events []Event) *Batch {
	b := &Batch{Unit: testUnit(lane), First: 1_000_001, Boot: clock.Boot{1, 2, 3}, Events: events,
		Positions: []Position{{Source: "console", File: "8:1-4711", Offset: 123456, Replayable: true}}}
	for i := range b.Events {
		b.Events[i].Seq = b.First + uint64(i)
	}
	return b
}

// arrivals stamps events as an agent does: several events a read, readings
// some microseconds apart, timestamps that rise by one within a millisecond.
type arrivals struct {
	rng    *rand.Rand
	mono   int64
	before int64
	hlc    hlc.Timestamp
}

func newArrivals(seed uint64) *arrivals {
	return &arrivals{rng: rand.New(rand.NewPCG(seed, 1)), mono: 86_400e9, before: 86_399e9, hlc: hlc.Make(1_700_000_000_000, 0)}
}

func (a *arrivals) stamp(e *Event) {
	if a.rng.IntN(50) == 0 { // the next read
		a.before = a.mono
	}
	step := a.rng.Int64N(2000)
	a.mono += step
	a.hlc++
	if a.rng.IntN(1000) == 0 {
		a.hlc = hlc.Make(a.hlc.Physical()+1, 0)
	}
	e.HLC = a.hlc
	e.Stamp = Stamp{Lo: a.before, Hi: a.mono, Point: a.mono}
}

// metricEvents are entity, signal, value and time: a Zipf choice of 200
// entities with 20 signals each, log-normal values.
func metricEvents(n int) []Event {
	a := newArrivals(1)
	zipf := rand.NewZipf(a.rng, 1.2, 4, 200*20-1)
	var entities, signals []string
	for i := range 200 {
		entities = append(entities, fmt.Sprintf("payments/service-%03d", i))
	}
	for i := range 20 {
		signals = append(signals, fmt.Sprintf("http.server.request.duration.%02d", i))
	}
	events := make([]Event, n)
	for i := range events {
		series := int(zipf.Uint64())
		e := &events[i]
		a.stamp(e)
		e.Criticality, e.Kind, e.Source = 2, Metric, "prometheus"
		e.Entity, e.Signal = entities[series%200], signals[series/200]
		e.Value = math.Exp(a.rng.NormFloat64())
	}
	return events
}

// logEvents are 120 bytes of text with a trace id and four attributes.
func logEvents(n int) []Event {
	a := newArrivals(2)
	words := []string{"timeout", "connecting", "upstream", "request", "gateway", "SWIFT", "retry", "payment",
		"rejected", "queue", "depth", "exceeded", "session", "closed", "by", "peer", "after", "ms"}
	users := make([]string, 500)
	for i := range users {
		users[i] = fmt.Sprintf("user-%05d", a.rng.IntN(100000))
	}
	events := make([]Event, n)
	for i := range events {
		e := &events[i]
		a.stamp(e)
		e.Criticality, e.Kind, e.Severity = 1+uint8(a.rng.IntN(2)), Log, []Severity{SeverityInfo, SeverityInfo, SeverityError}[a.rng.IntN(3)]
		e.SourceTime = 1_700_000_000_000_000_000 + a.mono/1e6*1e6
		e.Source, e.Entity = "access.log", fmt.Sprintf("mesh/checkout-%d", a.rng.IntN(8))
		e.Signal = []string{"http.200", "http.200", "http.200", "http.503"}[a.rng.IntN(4)]
		e.Peer = "payments/swift-gateway"
		binary.LittleEndian.PutUint64(e.TraceID[:], a.rng.Uint64())
		binary.LittleEndian.PutUint64(e.TraceID[8:], a.rng.Uint64())
		e.Attrs = []Attr{
			{"http.request.method", []string{"GET", "POST"}[a.rng.IntN(2)]},
			{"http.response.status_code", e.Signal[5:]},
			{"service.version", "1.42.0"},
			{"user.id", users[a.rng.IntN(len(users))]},
		}
		text := fmt.Sprintf("level=info seq=%d ", a.rng.IntN(1e6))
		for len(text) < 120 {
			text += words[a.rng.IntN(len(words))] + " "
		}
		e.Raw = []byte(text[:120])
	}
	return events
}
