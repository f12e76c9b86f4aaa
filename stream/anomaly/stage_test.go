package anomaly

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/detect"
)

const (
	second = int64(time.Second)
	milli  = int64(time.Millisecond)
	// dawn is when every stage begins, in root time.
	dawn = 1_000_000 * second
)

// quick is a configuration whose learning fits into seconds.
func quick() Config {
	c := DefaultConfig()
	c.Rules = []Rule{{Name: "errors", Signal: "http.5??", Count: 10, Within: 2 * time.Second,
		Class: Error, Severity: Level(event.SeverityError)}}
	c.Rates = []RateOf{{Name: "calls", Signal: "call", Class: Load, Severity: Level(event.SeverityWarn),
		RateOptions: detect.RateOptions{ARL: time.Hour, Learn: 20 * time.Second, Memory: 2 * time.Minute,
			Hold: 2 * time.Second, Rearm: 10 * time.Second, Adopt: time.Minute}}}
	c.Ratios = []RatioOf{{Name: "failures", Of: "rpc.*", Failed: "rpc.err", Class: Error, Severity: Level(event.SeverityError),
		RatioOptions: detect.RatioOptions{ARL: 100_000, Learn: 200, Memory: 2000, MinVolume: 20, Hold: 50, Rearm: 200, Adopt: 2000}}}
	c.Levels = []LevelOf{{Name: "latency", Signal: "took", Class: Latency, Severity: Level(event.SeverityWarn),
		LevelOptions: detect.LevelOptions{ARL: 20_000, Learn: 100, Memory: 1000, Hold: 20, Rearm: 100, Adopt: 500}}}
	c.FirstSeen.LearnFor = 5 * time.Second
	c.Silence.LearnFor = 5 * time.Second
	c.Silence.MinEvents = 16
	c.Silence.Grain = 100 * time.Millisecond
	c.Silence.Floor = time.Second
	c.Silence.Ceiling = 30 * time.Second
	c.Silence.MaxBeat = 2 * time.Second
	c.Hold = 3 * time.Second
	c.Rearm = 10 * time.Second
	c.Forget = time.Hour
	return c
}

// stage is a small world: relays with an engine each, origins whose agents
// are in session with one of them, voices that speak through the origins'
// sources, and a root that keeps the expectations.
type stage struct {
	cfg     Config
	now     int64
	tick    int64
	relays  map[string]*Engine
	hosts   map[string]*host
	voices  []*voice
	root    map[string]Expectations
	unread  int64 // how long ago the sources were looked at before
	value   float64
	told    []told
	observe func(relay string, step func(*Engine) []Finding) []Finding // seam for differential tests
}

// told is a finding and the relay that said it.
type told struct {
	relay string
	Finding
}

// host is an origin with its sources' state.
type host struct {
	name    string
	relay   string // in session with it, or empty
	wal     event.WALID
	seq     [event.Lanes]uint64
	sources map[string]string // state: readable, unreadable, behind; or stuck, which beats no more
}

func (h *host) unit(l event.Lane) event.Unit {
	return event.Unit{Origin: h.name, WAL: h.wal, Lane: l}
}

// voice is an entity that speaks regularly.
type voice struct {
	host, source, entity, signal string
	severity                     event.Severity
	every                        int64
	next                         int64
	on                           bool
}

func newStage(cfg Config) *stage {
	return &stage{cfg: cfg, now: dawn, tick: 10 * milli, relays: map[string]*Engine{}, hosts: map[string]*host{}, root: map[string]Expectations{}}
}

func (s *stage) relay(name string) *Engine {
	if s.relays[name] == nil {
		e, err := NewEngine(s.cfg)
		if err != nil {
			panic(err)
		}
		e.Tick(s.now)
		s.relays[name] = e
	}
	return s.relays[name]
}

func (s *stage) host(name string) *host {
	if s.hosts[name] == nil {
		s.hosts[name] = &host{name: name, wal: 1, sources: map[string]string{}}
	}
	return s.hosts[name]
}

// step runs one call of an engine and keeps what it says.
func (s *stage) step(relay string, call func(*Engine) []Finding) {
	s.relay(relay)
	var fs []Finding
	if s.observe != nil {
		fs = s.observe(relay, call)
	} else {
		fs = call(s.relays[relay])
	}
	for _, f := range fs {
		s.told = append(s.told, told{relay, f})
	}
}

// join opens a session, and claim has the root grant the units.
func (s *stage) join(name, relay string) {
	h := s.host(name)
	h.relay = relay
	for l := range event.Lane(event.Lanes) {
		s.step(relay, func(e *Engine) []Finding { e.Present(h.unit(l)); return nil })
	}
}

func (s *stage) claim(name string) {
	h := s.host(name)
	for l := range event.Lane(event.Lanes) {
		s.step(h.relay, func(e *Engine) []Finding { e.Claimed(h.unit(l), travel(s.root[name])); return nil })
	}
}

// leave closes the session; what the relay learnt goes to the root.
func (s *stage) leave(name string) {
	h := s.host(name)
	s.step(h.relay, func(e *Engine) []Finding {
		s.root[name] = s.root[name].Merge(travel(e.Expect(h.unit(event.Bulk))))
		for l := range event.Lane(event.Lanes) {
			e.Gone(h.unit(l))
		}
		return nil
	})
	h.relay = ""
}

// travel sends expectations through their encoding.
func travel(x Expectations) Expectations {
	w := pack.NewWriter()
	x.Append(w)
	r := pack.NewReader(w.Bytes())
	y := ReadExpectations(r)
	if err := r.Done(); err != nil {
		panic(err)
	}
	return y
}

// speaks starts a voice that says signal every so often, from now on.
func (s *stage) speaks(host, source, entity, signal string, severity event.Severity, every time.Duration) *voice {
	v := &voice{host: host, source: source, entity: entity, signal: signal, severity: severity,
		every: int64(every), next: s.now, on: true}
	s.voices = append(s.voices, v)
	h := s.host(host)
	if h.sources[source] == "" {
		h.sources[source] = readable
	}
	return v
}

// say has an entity speak once, now.
func (s *stage) say(host, source, entity, signal string, severity event.Severity, flags event.Flags) {
	h := s.host(host)
	if h.relay == "" {
		return // nobody hears it
	}
	lane := event.Bulk
	if severity >= event.SeverityError {
		lane = event.Critical
	}
	h.seq[lane]++
	ev := event.Event{Seq: h.seq[lane], Source: source, Entity: entity, Signal: signal, Severity: severity, Flags: flags,
		Value: s.value + float64(h.seq[lane]*7%10),
		Stamp: event.Stamp{Lo: s.now - s.unread, Hi: s.now, Point: s.now}}
	a := arrivalOf(h.unit(lane), ev)
	place(a, clock.Mapping{Offset: -milli, Bound: milli, At: s.now}, s.now)
	s.step(h.relay, func(e *Engine) []Finding {
		e.Begin(a)
		return e.Observe(0)
	})
}

// numberings are those of units.
var numberings = map[event.Unit]*stream.Numbering{}

// place places a batch in root time, as a relay does.
func place(a *stream.Arrival, m clock.Mapping, at int64) {
	a.Place(m, at)
	by := numberings[a.Unit]
	if by == nil {
		by = stream.NewNumbering()
		numberings[a.Unit] = by
	}
	a.Sums.Number(by)
}

// arrivalOf is what a relay makes of a batch of events, placed where the agent's
// clock has them.
func arrivalOf(unit event.Unit, events ...event.Event) *stream.Arrival {
	b := event.Batch{Unit: unit, First: events[0].Seq, Events: events}
	for i := range events {
		events[i].Criticality = uint8(unit.Lane)
	}
	a := &stream.Arrival{}
	bytes, err := b.Encode(nil)
	if err == nil {
		err = a.Decode(bytes)
	}
	if err != nil {
		panic(err)
	}
	place(a, clock.Mapping{}, 0)
	return a
}

// pass lets time go by in ticks of 10 ms, voices speaking and agents beating
// every 250 ms.
func (s *stage) pass(d time.Duration) {
	for end := s.now + int64(d); s.now < end; {
		s.now += s.tick
		for _, v := range s.voices {
			for ; v.next <= s.now; v.next += v.every {
				if v.on {
					s.say(v.host, v.source, v.entity, v.signal, v.severity, 0)
				}
			}
		}
		if (s.now-dawn)%(250*milli) == 0 {
			s.beat()
		}
		for _, relay := range slices.Sorted(maps.Keys(s.relays)) {
			s.step(relay, func(e *Engine) []Finding { return e.Tick(s.now) })
		}
	}
}

func (s *stage) beat() {
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
		h := s.hosts[name]
		for _, source := range slices.Sorted(maps.Keys(h.sources)) {
			state := h.sources[source]
			if h.relay == "" || state == "stuck" {
				continue
			}
			for l := range event.Lane(event.Lanes) {
				h.seq[l]++
				ev := &event.Event{Seq: h.seq[l], Kind: event.Heartbeat, Source: source, Signal: state}
				s.step(h.relay, func(e *Engine) []Finding { return e.Heartbeat(h.unit(l), ev, s.now-2*milli) })
			}
		}
	}
}

// take returns what was said since the last take, as "detector entity
// signal", with a sign: + for begun, - for ended, * for another revision.
func (s *stage) take() []string {
	var out []string
	for _, f := range s.told {
		sign := "+"
		switch {
		case f.Ended:
			sign = "-"
		case f.Revision > 1:
			sign = "*"
		}
		name := f.Detector
		if f.Rule != "" {
			name = f.Rule
		}
		out = append(out, fmt.Sprintf("%s%s %s", sign, name, f.Series.Entity))
	}
	s.told = nil
	return out
}

// hears fails unless exactly these findings were said since the last take.
func (s *stage) hears(t *testing.T, want ...string) {
	t.Helper()
	if got := s.take(); !slices.Equal(got, want) {
		t.Errorf("after %v: findings %q, want %q", time.Duration(s.now-dawn), got, want)
	}
}

func snapshotOf(e *Engine) []byte {
	w := pack.NewWriter()
	e.Snapshot(w)
	return w.Copy()
}

func restored(cfg Config, snapshot []byte) (*Engine, error) {
	e, err := NewEngine(cfg)
	if err != nil {
		return nil, err
	}
	r := pack.NewReader(snapshot)
	if err := e.Restore(r); err != nil {
		return nil, err
	}
	return e, r.Done()
}

func encoded(fs []Finding) []byte {
	w := pack.NewWriter()
	for _, f := range fs {
		AppendFinding(w, f)
	}
	return w.Copy()
}
