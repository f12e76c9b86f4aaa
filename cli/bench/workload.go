//go:build !zos

package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"pando/event"
	"pando/internal/exact"
)

// Kinds of events.
const (
	KindMetric = "metric" // entity, signal, value, time
	KindLog    = "log"    // and 120 bytes of text, a trace id, four attributes
	kindLine   = "line"   // a line of JSON with entity, signal and value
)

const (
	// codeShare of the events carry a code: a log event whose signal says what
	// happened.
	codeShare = 0.05
	// failing of the entities, one in so many, have codes that the detectors'
	// default rules look for.
	failing = 20
	// The choice of a series is Zipf's, P(k) ~ (zipfV + k)^-zipfS.
	zipfS, zipfV = 1.2, 4
	// draws is how many events are drawn in advance; they go round.
	draws    = 1 << 18
	textSize = 120
	texts    = 1 << 14 // different ones, more than a batch holds
)

var (
	calmCodes  = [...]string{"http.404", "http.429", "DFHAC2236", "IEF450I"}
	errorCodes = [...]string{"http.503", "DSNT376I"}
)

// source is the name that the events give their source.
const source = "bench"

// draw is one event without what is different each time it is sent.
type draw struct {
	entity, signal string
	coded          bool // signal is a code
	severity       event.Severity
	value          float64
	exact          exact.Sum // the value
}

// events are what one agent sends, again and again: every series once, as a
// scrape would have it, among draws that are far from even. The numbers depend
// on the workload and the agent alone. Not safe for concurrent use.
type events struct {
	kind     string
	entities []string // of this agent
	signals  []string
	draws    []draw
	next     int
	texts    []string
	attrs    [][]event.Attr // one in some hundred combinations, without the text
	random   *rand.Rand
}

func newEvents(kind string, o *Options, agent int) *events {
	w := &events{kind: kind, random: rand.New(rand.NewPCG(1, uint64(agent)))}
	for i := agent; i < o.Entities; i += o.Agents {
		w.entities = append(w.entities, fmt.Sprintf("payments/service-%04d", i))
	}
	for i := range o.Signals {
		w.signals = append(w.signals, fmt.Sprintf("http.server.request.duration.%02d", i))
	}
	series := len(w.entities) * len(w.signals)
	zipf := rand.NewZipf(w.random, zipfS, zipfV, uint64(series-1))
	for i := range o.drawn() / o.Agents {
		n, coded := i, false
		if i >= series {
			n, coded = int(zipf.Uint64()), w.random.Float64() < codeShare
		}
		w.draws = append(w.draws, w.draw(n, coded))
	}
	w.random.Shuffle(len(w.draws), func(i, j int) { w.draws[i], w.draws[j] = w.draws[j], w.draws[i] })
	if kind == KindLog {
		w.write()
	}
	return w
}

// drawn is how many events all agents draw in advance: each series once, and at
// least three times as many by chance.
func (o *Options) drawn() int { return max(draws, 4*o.Entities*o.Signals) }

// draw makes an event of the nth busiest series, or one with a code of its
// entity. The busiest series are of different entities.
func (w *events) draw(n int, coded bool) draw {
	at := n % len(w.entities)
	d := draw{entity: w.entities[at], signal: w.signals[n/len(w.entities)], coded: coded, severity: event.SeverityInfo, value: math.Exp(w.random.NormFloat64())}
	if w.kind == KindLog || coded {
		d.value = 1
	}
	switch {
	case coded && at%failing == 0:
		d.signal, d.severity = errorCodes[w.random.IntN(len(errorCodes))], event.SeverityError
	case coded:
		d.signal, d.severity = calmCodes[w.random.IntN(len(calmCodes))], event.SeverityWarn
	}
	d.exact, _ = exact.FromFloat(d.value) // it is far from the limits
	return d
}

// write makes the texts and attributes of log events.
func (w *events) write() {
	words := [...]string{"timeout", "connecting", "upstream", "request", "gateway", "SWIFT", "retry", "payment",
		"rejected", "queue", "depth", "exceeded", "session", "closed", "by", "peer", "after", "ms"}
	for range texts {
		b := fmt.Appendf(nil, "level=info seq=%06d ", w.random.IntN(1e6))
		for len(b) < textSize {
			b = append(append(b, words[w.random.IntN(len(words))]...), ' ')
		}
		w.texts = append(w.texts, string(b[:textSize]))
	}
	for i := range 256 {
		w.attrs = append(w.attrs, []event.Attr{
			{Key: "http.request.method", Value: [...]string{"GET", "POST"}[i%2]},
			{Key: "http.response.status_code", Value: [...]string{"200", "201", "404", "503"}[i/2%4]},
			{Key: "service.version", Value: fmt.Sprintf("1.42.%d", i/8%2)},
			{Key: "user.id", Value: fmt.Sprintf("user-%05d", w.random.IntN(1e5))},
		})
	}
}

// fill makes the next events, but for sequence numbers and stamps, and returns
// the sum of their values. Attributes are written into arena, six an event.
func (w *events) fill(list []event.Event, arena []event.Attr) (sum exact.Sum) {
	for i := range list {
		at := w.next % len(w.draws)
		w.next++
		d, e := &w.draws[at], &list[i]
		*e = event.Event{Criticality: 2, Kind: event.Metric, Severity: d.severity, Source: source, Entity: d.entity, Signal: d.signal, Value: d.value}
		if d.coded {
			e.Kind, e.Criticality = event.Log, 1
		}
		if w.kind == KindLog {
			e.Kind = event.Log
			binary.LittleEndian.PutUint64(e.TraceID[:], w.random.Uint64()|1)
			binary.LittleEndian.PutUint64(e.TraceID[8:], w.random.Uint64())
			// As an agent has it: the text is an attribute, and they are sorted.
			a := arena[i*attrsOfLog : i*attrsOfLog : (i+1)*attrsOfLog]
			a = append(a, event.Attr{Key: "body", Value: w.texts[w.next%len(w.texts)]})
			e.Attrs = append(a, w.attrs[at%len(w.attrs)]...)
		}
		sum = sum.Add(d.exact)
	}
	return sum
}

// attrsOfLog is how many attributes a log event has, its text included.
const attrsOfLog = 5

// zipfReach is how many of n series have a share of all events.
func zipfReach(n int, share float64) int {
	weight := func(k int) float64 { return math.Pow(zipfV+float64(k), -zipfS) }
	total, sum := 0.0, 0.0
	for k := range n {
		total += weight(k)
	}
	for k := range n {
		if sum += weight(k); sum >= share*total {
			return k + 1
		}
	}
	return n
}
