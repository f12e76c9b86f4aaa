package relay

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/internal/golden"
	"pando/internal/pack"
	"pando/stream/cep"
	"pando/stream/cep/pattern"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// patterned is a core with patterns, and agents that speak in both lanes.
type patterned struct {
	*bench
	version uint64
}

const patternDawn = int64(1_000e9)

// failover is a pattern: an abend, a retry of the same job, and no takeover for
// ten seconds.
func failover(name, summary string) pattern.Pattern {
	return pattern.Pattern{Name: name, Key: []string{"entity"}, Within: 5 * time.Minute,
		Steps: []pattern.Step{
			{Name: "abend", When: `signal startsWith "abend." and severity >= error`},
			{Name: "retry", When: `signal == "IEA404A" and attr["job"] == abend.attr["job"]`},
			{Name: "takeover", Absent: `signal == "IXC101I"`, For: 10 * time.Second},
		},
		Finding: pattern.Finding{Summary: summary}}
}

// patternsBody is a set as the root sends it.
func patternsBody(t testing.TB, version uint64, patterns ...pattern.Pattern) []byte {
	t.Helper()
	set, err := pattern.Compile(&pattern.File{Patterns: patterns})
	if err != nil {
		t.Fatal(err)
	}
	w := pack.NewWriter()
	set.Append(w)
	return wire.Encode(&wire.Patterns{Version: version, Set: w.Bytes()}).Body
}

func newPatterned(t *testing.T, patterns ...pattern.Pattern) *patterned {
	p := &patterned{bench: newBench(t)}
	p.now = patternDawn
	p.do(recConfig, []byte("rules: []\nfirst_seen: {enabled: false}\n"))
	p.uplink(1)
	p.exchange(patterns...)
	return p
}

func (p *patterned) exchange(patterns ...pattern.Pattern) {
	p.t.Helper()
	p.version++
	p.do(recPatterns, patternsBody(p.t, p.version, patterns...))
}

func (p *patterned) join(name string, id event.WALID) *fakeAgent {
	a := p.agent(name, id)
	p.mustOpen(a)
	p.root(0)
	return a
}

// say sends one event in a lane; at is seconds since dawn.
func (p *patterned) say(a *fakeAgent, lane event.Lane, at float64, change func(e *event.Event)) {
	p.t.Helper()
	p.now = max(p.now, patternDawn+int64(at*1e9))
	a.writeEvents(p.t, lane, 1, true, func(_ int, e *event.Event) {
		stamp := patternDawn - 500e9 + int64(at*1e9)
		e.Severity, e.Stamp = event.SeverityError, event.Stamp{Lo: stamp, Hi: stamp, Point: stamp}
		change(e)
	})
	last := len(a.batches[lane]) - 1
	p.send(a, lane, last, a.batches[lane][last].last)
}

func (p *patterned) log(a *fakeAgent, lane event.Lane, at float64, signal, job string) {
	p.t.Helper()
	p.say(a, lane, at, func(e *event.Event) {
		e.Entity, e.Signal, e.Attrs = "sysplex1/"+a.name, signal, []event.Attr{{Key: "job", Value: job}}
	})
}

// beat says in both lanes that the agent's source was read up to a time.
func (p *patterned) beat(a *fakeAgent, at float64) {
	p.t.Helper()
	for l := range event.Lane(event.Lanes) {
		p.say(a, l, at, func(e *event.Event) { e.Kind, e.Signal = event.Heartbeat, "readable" })
	}
}

// upTo lets time come so far.
func (p *patterned) upTo(at float64) { p.now = max(p.now, patternDawn+int64(at*1e9)); p.tick(0) }

// matched are the summaries of what patterns found.
func (p *patterned) matched() []string { return p.matches() }

func (b *bench) matches() (list []string) {
	for _, o := range b.log {
		if f, ok := Finding(o); ok && f.Detector == cep.DetectorPattern {
			list = append(list, f.Rule+": "+f.Summary)
		}
	}
	return list
}

// exchanging puts patterns in force now and then in a script: some keep runs of
// the set before, and each reads what another does not.
func exchanging(b *bench, step func()) func() {
	rising := pattern.Pattern{Name: "rising", Key: []string{"entity"}, Within: 500 * time.Millisecond,
		Steps:      []pattern.Step{{Name: "low", When: `kind == "log"`}, {Name: "high", When: "value > low.value + 20", Times: pattern.Times{Min: 2, Max: 3}}},
		AfterMatch: pattern.AfterMatch{Strategy: cep.SkipPast}, Limits: pattern.Limits{MaxRuns: 256, MaxKeys: 4}}
	ending := pattern.Pattern{Name: "ending", Key: []string{"signal", "source"}, Within: time.Second,
		Steps:      []pattern.Step{{Name: "some", When: `kind == "log" and value > 5`}, {Name: "none", Absent: "value < some.value", For: 50 * time.Millisecond}},
		AfterMatch: pattern.AfterMatch{Strategy: cep.SkipPast}, Limits: pattern.Limits{MaxRuns: 256, MaxKeys: 4}}
	again := rising
	again.Finding.Summary = "in other words"
	sets := [][]pattern.Pattern{{rising}, {again, ending}, {ending}, {}}
	n := 0
	return func() {
		if n%60 == 0 {
			b.do(recPatterns, patternsBody(b.t, uint64(n+1), sets[n/60%len(sets)]...))
		}
		n++
		step()
	}
}

// TestGoldenPatterns pins what patterns make of a trace, byte for byte, on every
// machine.
func TestGoldenPatterns(t *testing.T) {
	var out strings.Builder
	for seed := range uint64(3) {
		b := newBench(t)
		script(b, seed, exchanging(b, func() {}))
		w := pack.NewWriter()
		b.core.patterns.append(w)
		fmt.Fprintf(&out, "seed %d\n----\n%s\nstate %x\n%s\n", seed, digest(b.log), sha256.Sum256(w.Bytes()), strings.Join(b.matches(), "\n"))
	}
	golden.Compare(t, "patterns.golden", []byte(out.String()), "raise logicVersion")
}

// kill ends the core without a checkpoint: the next one has all from the log.
func (b *bench) kill() {
	b.t.Helper()
	b.core = b.newCore()
	for i, rec := range b.records {
		if err := b.core.Step(wal.Seq(i+1), rec[0], rec[1:], func(journal.Output) {}); err != nil {
			b.t.Fatalf("record %d again: %v", i+1, err)
		}
	}
}

// A run that is half done lives through a restart; its events come in both lanes
// and out of order between them; and it is complete once the watermark of both
// has passed the absence.
func TestPatternAcrossLanesAndARestart(t *testing.T) {
	for name, again := range map[string]func(*bench){"stopped": (*bench).restart, "killed": (*bench).kill} {
		t.Run(name, func(t *testing.T) { acrossLanes(t, again) })
	}
}

func acrossLanes(t *testing.T, again func(*bench)) {
	p := newPatterned(t, failover("silent-failover", "no takeover"))
	a, b := p.join("eu/a", 1), p.join("eu/b", 2)
	p.log(a, event.Bulk, 2, "IEA404A", "PAY1") // before what it follows, in the other lane
	p.log(a, event.Critical, 1, "abend.S0C7", "PAY1")
	p.log(b, event.Critical, 1, "abend.S0C7", "PAY1")
	p.log(b, event.Bulk, 2, "IEA404A", "PAY2") // of another job
	p.beat(a, 5)
	p.beat(b, 5)
	p.upTo(5)
	if l := p.core.patterns.listing(); l.Patterns[0].Runs != 2 {
		t.Fatalf("%+v: want a run of each agent's", l.Patterns)
	}
	again(p.bench)
	p.beat(b, 8)
	p.beat(a, 12.5)
	p.upTo(12.5)
	if got := p.matched(); len(got) > 0 {
		t.Fatalf("matched %q while an agent has only come to 8 s", got)
	}
	p.beat(b, 12.5)
	p.upTo(12.6)
	if got := p.matched(); len(got) != 1 || got[0] != "silent-failover: no takeover, entity sysplex1/eu/a" {
		t.Fatalf("matched %q", got)
	}
	if len(p.core.pending) != 1 || len(p.core.pending[0].Evidence) == 0 {
		t.Errorf("pending %+v: want the finding with its evidence until the root has it", p.core.pending)
	}
}

// Matches of one component that differ in the key are two alarms.
func TestMatchesAreNotOneAlarm(t *testing.T) {
	x := failover("by-job", "")
	x.Key = []string{"entity", "attr.job"}
	p := newPatterned(t, x)
	a := p.join("eu/a", 1)
	for i, job := range []string{"PAY1", "PAY2"} {
		p.log(a, event.Critical, 1+float64(i), "abend.S0C7", job)
		p.log(a, event.Critical, 3+float64(i), "IEA404A", job)
	}
	p.beat(a, 20)
	p.upTo(20)
	if got := p.matched(); len(got) != 2 {
		t.Errorf("matched %q, want one of each job", got)
	}
}

// Another set keeps the runs of what does the same as before, and a set without
// patterns for relays ends all of them.
func TestPatternsAreExchanged(t *testing.T) {
	p := newPatterned(t, failover("stays", "said so"), failover("goes", ""))
	a := p.join("eu/a", 1)
	p.log(a, event.Critical, 1, "abend.S0C7", "PAY1")
	p.beat(a, 2)
	p.upTo(2)
	global := failover("global", "")
	global.Scope = pattern.Scope(cep.Root)
	p.exchange(global, failover("stays", "says otherwise"))
	p.restart()
	p.log(a, event.Critical, 3, "IEA404A", "PAY1")
	p.beat(a, 14)
	p.upTo(14)
	if got := p.matched(); len(got) != 1 || !strings.HasPrefix(got[0], "stays: says otherwise") {
		t.Errorf("matched %q", got)
	}
	l := p.core.patterns.listing()
	if l.Version != 2 || l.Reloaded != 1 || l.Patterns[0].Here || !l.Patterns[1].Here || l.Patterns[1].Matched != 1 {
		t.Errorf("listed as %+v", l)
	}
	p.exchange(global)
	p.restart()
	p.log(a, event.Critical, 15, "abend.S0C7", "PAY1")
	p.beat(a, 16)
	p.upTo(16)
	if l := p.core.patterns.listing(); l.Version != 3 || l.Patterns[0].Here || len(l.Patterns) != 1 {
		t.Errorf("listed as %+v", l)
	}
}

// What patterns want is asked once for each line and kind, and must not be
// answered for another.
func TestEachKindOfALineIsAskedFor(t *testing.T) {
	of := func(kind string) pattern.Pattern {
		return pattern.Pattern{Name: kind, Key: []string{"entity"}, Within: time.Minute,
			Steps: []pattern.Step{{Name: "any", When: fmt.Sprintf("kind == %q", kind)}}}
	}
	p := newPatterned(t, of("metric"), of("loss"))
	a := p.join("eu/a", 1)
	kinds := []event.Kind{event.Log, event.Metric, event.Log, event.Span, event.Metric, event.Loss, event.Heartbeat}
	a.writeEvents(t, event.Bulk, len(kinds), true, func(i int, e *event.Event) {
		stamp := patternDawn - 500e9 + int64(i)*1e9
		e.Kind, e.Stamp = kinds[i], event.Stamp{Lo: stamp, Hi: stamp, Point: stamp}
		switch e.Kind {
		case event.Loss:
			loss := event.NewLoss("s", "app/x", 0, 3, stamp, stamp)
			loss.Seq, loss.Criticality = e.Seq, e.Criticality
			*e = loss
		case event.Heartbeat:
			e.Signal = "readable"
		}
	})
	p.send(a, event.Bulk, 0, a.batches[event.Bulk][0].last)
	p.beat(a, 20)
	p.upTo(20)
	var got []string
	for _, s := range p.core.patterns.listing().Patterns {
		got = append(got, fmt.Sprintf("%s %d", s.Name, s.Matched))
	}
	if want := []string{"metric 2", "loss 1"}; !slices.Equal(got, want) {
		t.Errorf("matched %v, want %v", got, want)
	}
}

// An agent that is silent for long is waited for no longer; what it says when it
// is back is late, and counted.
func TestSilentAgentIsLate(t *testing.T) {
	p := newPatterned(t, failover("silent-failover", ""))
	a, b := p.join("eu/a", 1), p.join("eu/b", 2)
	p.beat(a, 1)
	p.beat(b, 1)
	for at := 2.0; at < 20; at++ {
		p.beat(a, at)
		p.upTo(at)
	}
	p.log(b, event.Critical, 3, "abend.S0C7", "PAY1")
	if l := p.core.patterns.listing(); l.Late != 1 {
		t.Errorf("%d events are late, want the one of 17 s ago", l.Late)
	}
}
