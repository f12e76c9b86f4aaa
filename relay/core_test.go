package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/golden"
	"pando/internal/pack"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// bench drives a core as the shell would: a log of records, outputs, and a
// root that keeps an Owner for each unit.
type bench struct {
	t       *testing.T
	core    *core
	log     []journal.Output // everything said
	records [][]byte         // kind and body, by sequence - 1
	owners  map[event.Unit]*custody.Owner
	origin  custody.Origin
	rows    map[event.Unit]string // sum of what the root applied
	events  map[event.Unit]uint64
	lost    map[event.Unit][]custody.Range
	agents  map[string]*fakeAgent
	now     int64
	session uint64
}

// fakeAgent is an agent's log: batches by lane.
type fakeAgent struct {
	name    string
	wal     event.WALID
	term    custody.Term
	session uint64
	chain   [event.Lanes]event.Hash
	next    [event.Lanes]uint64
	batches [event.Lanes][]fakeBatch
}

type fakeBatch struct {
	first, last uint64
	before      event.Hash
	bytes       []byte
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, owners: map[event.Unit]*custody.Owner{}, rows: map[event.Unit]string{}, events: map[event.Unit]uint64{}, lost: map[event.Unit][]custody.Range{},
		agents: map[string]*fakeAgent{}, now: 1_000e9}
	b.core = b.newCore()
	b.do(recStart, nil)
	return b
}

func (b *bench) newCore() *core {
	c, err := newCore("eu/relay1", func(seq wal.Seq) (uint8, []byte, error) {
		rec := b.records[seq-1]
		return rec[0], rec[1:], nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// do steps one record and lets the root answer what it causes.
func (b *bench) do(kind uint8, body []byte) []journal.Output {
	b.t.Helper()
	b.records = append(b.records, append([]byte{kind}, body...))
	var said []journal.Output
	if err := b.core.Step(wal.Seq(len(b.records)), kind, body, func(o journal.Output) { said = append(said, o) }); err != nil {
		b.t.Fatalf("record %d of kind %d: %v", len(b.records), kind, err)
	}
	b.log = append(b.log, said...)
	return said
}

func (b *bench) agent(name string, id event.WALID) *fakeAgent {
	a := &fakeAgent{name: name, wal: id, next: [event.Lanes]uint64{1, 1}}
	b.agents[name] = a
	return a
}

// write appends a batch of n events to the agent's log.
func (a *fakeAgent) write(t *testing.T, lane event.Lane, n int, replayable bool) {
	a.writeEvents(t, lane, n, replayable, func(int, *event.Event) {})
}

// writeEvents does the same with events as change makes them.
func (a *fakeAgent) writeEvents(t *testing.T, lane event.Lane, n int, replayable bool, change func(i int, e *event.Event)) {
	batch := event.Batch{Unit: event.Unit{Origin: a.name, WAL: a.wal, Lane: lane}, First: a.next[lane], Boot: clock.Boot{1},
		Positions: []event.Position{{Source: "s", Offset: int64(a.next[lane]) + int64(n), Replayable: replayable}}}
	for i := range n {
		seq := a.next[lane] + uint64(i)
		at := int64(seq) * 1e6
		e := event.Event{Seq: seq, Entity: "app/x", Signal: "log", Value: float64(seq), Source: "s", Severity: event.SeverityInfo,
			Stamp: event.Stamp{Lo: at, Hi: at, Point: at}}
		if lane == event.Bulk {
			e.Criticality = 2
		}
		change(i, &e)
		batch.Events = append(batch.Events, e)
	}
	body, err := batch.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	a.batches[lane] = append(a.batches[lane], fakeBatch{batch.First, batch.Last(), a.chain[lane], body})
	a.chain[lane] = event.Chain(a.chain[lane], body)
	a.next[lane] = batch.Last() + 1
}

// open opens a session from the given first sequences and returns the answer.
func (b *bench) open(a *fakeAgent, from, synced [event.Lanes]uint64) wire.Message {
	b.t.Helper()
	b.session++
	a.session = b.session
	a.term.Session++
	o := opening{Session: a.session, Origin: a.name, HLC: b.session, Open: wire.Open{WAL: a.wal, Term: a.term}}
	for l := range o.Open.Offers {
		o.Open.Offers[l] = custody.Offer{From: from[l], Last: a.next[l] - 1, Synced: synced[l]}
	}
	said := b.do(recOpen, o.encode())
	for _, out := range said {
		switch out.Kind {
		case wire.KindOpened:
			var m wire.Opened
			b.decode(out.Body, &m)
			return &m
		case wire.KindRefused:
			var m wire.Refused
			b.decode(out.Body, &m)
			return &m
		}
	}
	b.t.Fatal("no answer to open")
	return nil
}

func (b *bench) decode(body []byte, m wire.Message) {
	b.t.Helper()
	if err := wire.Decode(body, m); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) mustOpen(a *fakeAgent) *wire.Opened {
	b.t.Helper()
	m, ok := b.open(a, [event.Lanes]uint64{1, 1}, [event.Lanes]uint64{a.next[0] - 1, a.next[1] - 1}).(*wire.Opened)
	if !ok {
		b.t.Fatalf("refused")
	}
	return m
}

// send sends the i-th batch of a lane, vouched for up to durable.
func (b *bench) send(a *fakeAgent, lane event.Lane, i int, durable uint64) []journal.Output {
	f := a.batches[lane][i]
	m := wire.Batch{Before: f.before, DurableTo: durable, Mapped: true, Bytes: f.bytes,
		Map: clock.Mapping{Boot: clock.Boot{1}, Offset: 500e9, Bound: 1e6}}
	b.now += 1e6
	return b.do(recBatch, encodeArrival(a.session, uint8(lane), b.now, wire.Encode(&m).Body))
}

func (b *bench) uplink(up uint64) { b.do(recUplink, encodeNumbers(up)) }

// root answers everything said to it since the last call, or since from.
func (b *bench) root(from int) {
	b.t.Helper()
	for i := from; i < len(b.log); i++ {
		o := b.log[i]
		if o.To != toRoot {
			continue
		}
		switch o.Kind {
		case wire.KindClaim:
			b.grant(o.Body)
		case outSection:
			b.judge(o.Body)
		}
	}
}

func (b *bench) owner(u event.Unit) *custody.Owner {
	if b.owners[u] == nil {
		b.owners[u] = &custody.Owner{}
	}
	return b.owners[u]
}

func (b *bench) grant(body []byte) {
	var c wire.Claim
	b.decode(body, &c)
	a := wire.ClaimAnswer{ID: c.ID, Origin: c.Origin, WAL: c.WAL, Term: c.Term, Granted: true}
	closes, _ := b.origin.Claim(custody.Claim{WAL: c.WAL, Opened: c.Opened, Started: c.Started,
		Closed: b.owner(event.Unit{Origin: c.Origin, WAL: c.WAL}).Closed})
	for l := range event.Lane(event.Lanes) {
		if closes != 0 {
			b.owner(event.Unit{Origin: c.Origin, WAL: closes, Lane: l}).Close()
		}
		o := b.owner(event.Unit{Origin: c.Origin, WAL: c.WAL, Lane: l})
		if err := o.Claim(c.Term, "eu/relay1"); err != nil {
			a.Granted, a.Closed, a.Known = false, errors.Is(err, custody.ErrClosed), o.Term
		}
		a.Settled[l], a.Chain[l] = o.Settled, o.Chain
	}
	b.do(recClaimed, wire.Encode(&a).Body)
}

func (b *bench) judge(section []byte) custody.Verdict {
	s, err := wire.DecodeSection(section)
	if err != nil {
		b.t.Fatal(err)
	}
	o := b.owner(s.Head.Unit)
	v, lost := o.Judge(s.Head)
	if !lost.Empty() {
		b.lost[s.Head.Unit] = append(b.lost[s.Head.Unit], lost)
	}
	if v == custody.Apply {
		b.events[s.Head.Unit] += s.Rows.Events
		b.rows[s.Head.Unit] += s.Rows.Sum.String() + " "
	}
	a := wire.DigestAnswer{ID: 1, Judgements: []wire.Judgement{{Unit: s.Head.Unit, Term: s.Head.Term, To: s.Head.To, Verdict: v,
		Closed: o.Closed, InForce: o.Term, Settled: o.Settled, Chain: o.Chain}}}
	b.do(recJudged, wire.Encode(&a).Body)
	return v
}

// acks returns the last acknowledgement said to an agent's lane.
func (b *bench) ack(a *fakeAgent, lane event.Lane) (last wire.Ack) {
	for _, o := range b.log {
		if o.To == toSession(a.session) && o.Kind == wire.KindAck {
			var m wire.Ack
			b.decode(o.Body, &m)
			if m.Lane == lane {
				last = m
			}
		}
	}
	return last
}

func (b *bench) tick(d int64) { b.now += d; b.do(recTick, encodeTick(b.now)) }

func TestBatchesAreSettledOnce(t *testing.T) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	for range 4 {
		a.write(t, event.Critical, 3, true)
	}
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	for i := range 4 {
		at := len(b.log)
		b.send(a, event.Critical, i, 12)
		b.root(at)
	}
	if ack := b.ack(a, event.Critical); ack.Durable != 12 || ack.Settled != 12 {
		t.Errorf("acknowledged %+v, want durable and settled 12", ack)
	}
	u := event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Critical}
	if b.events[u] != 12 {
		t.Errorf("root counted %d events, want 12", b.events[u])
	}
}

func TestNothingIsSteppedBeyondDurableTo(t *testing.T) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	a.write(t, event.Critical, 3, true)
	a.write(t, event.Critical, 3, true)
	b.uplink(1)
	if m, ok := b.open(a, [event.Lanes]uint64{1, 1}, [event.Lanes]uint64{3, 0}).(*wire.Opened); !ok || m.Resume[0] != 1 {
		t.Fatalf("open: %+v", m)
	}
	b.root(0)
	at := len(b.log)
	b.send(a, event.Critical, 0, 3)
	b.send(a, event.Critical, 1, 3)
	b.root(at)
	if ack := b.ack(a, event.Critical); ack.Durable != 3 || ack.Settled != 3 {
		t.Errorf("acknowledged %+v, the agent's disk holds 3", ack)
	}
	at = len(b.log)
	b.do(recVouch, encodeNumbers(a.session, 0, 6))
	b.root(at)
	if ack := b.ack(a, event.Critical); ack.Settled != 6 {
		t.Errorf("acknowledged %+v after the durable-to, want settled 6", ack)
	}
}

func TestLostRootMakesSectionsAnew(t *testing.T) {
	b := newBench(t)
	a := b.agent("eu/a", 7)
	for range 3 {
		a.write(t, event.Bulk, 2, true)
	}
	b.uplink(1)
	b.mustOpen(a)
	b.root(0)
	b.send(a, event.Bulk, 0, 6)
	b.tick(2e9) // cut, and the answer is lost with the root
	b.uplink(0)
	b.send(a, event.Bulk, 1, 6)
	b.uplink(1)
	at := len(b.log)
	b.send(a, event.Bulk, 2, 6)
	b.tick(2e9)
	b.root(at)
	u := event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}
	if b.events[u] != 6 || strings.TrimSpace(b.rows[u]) != "21" {
		t.Errorf("root counted %d events with the sums %s, want 6 with 21", b.events[u], b.rows[u])
	}
}

func TestClosedUnitKeepsOnlyWhatCannotBeReadAgain(t *testing.T) {
	for _, replayable := range []bool{true, false} {
		t.Run(fmt.Sprint("replayable ", replayable), func(t *testing.T) {
			b := newBench(t)
			a := b.agent("eu/a", 7)
			a.write(t, event.Critical, 5, replayable)
			b.mustOpen(a)
			b.send(a, event.Critical, 0, 5)
			b.do(recClose, encodeNumbers(a.session))
			fresh := b.agent("eu/a", 8)
			b.mustOpen(fresh)
			b.uplink(1)
			b.root(0)
			u := event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Critical}
			// The newer WAL id closed the older, whose claim came first.
			b.tick(3e9)
			at := len(b.log)
			b.uplink(0)
			b.uplink(1)
			b.tick(3e9)
			b.root(at)
			if o := b.owner(u); o.Settled != 5 {
				t.Fatalf("the rest of the closed unit is settled up to %d, want 5", o.Settled)
			}
			if !b.owner(u).Closed {
				t.Fatal("the newer WAL id did not close the older")
			}
			want := uint64(5)
			if replayable {
				want = 0
			}
			if b.events[u] != want {
				t.Errorf("root counted %d events of the closed unit, want %d", b.events[u], want)
			}
		})
	}
}

func TestForeignUnitIsRefused(t *testing.T) {
	b := newBench(t)
	a, other := b.agent("eu/a", 7), b.agent("eu/b", 9)
	a.write(t, event.Critical, 1, true)
	other.write(t, event.Critical, 1, true)
	b.mustOpen(a)
	b.mustOpen(other)
	a.batches[0][0] = other.batches[0][0]
	said := b.send(a, event.Critical, 0, 1)
	if len(said) == 0 || said[0].Kind != wire.KindRefused || said[0].To != toSession(a.session) {
		t.Errorf("said %v, want a refusal to the session that sent another's unit", said)
	}
	at := len(b.log)
	b.send(other, event.Critical, 0, 1)
	if len(b.log) == at || b.ack(other, event.Critical).Durable != 1 {
		t.Error("the other agent was disturbed")
	}
}

// script drives a bench by a seeded random mix of everything that can happen.
func script(b *bench, seed uint64, step func()) {
	rng := rand.New(rand.NewPCG(seed, 1))
	b.do(recConfig, []byte("windows: [{name: w, window: 100ms, slide: 100ms, lateness: 1s, quantiles: [0.5], distinct: [entity]}]\n"))
	b.uplink(1)
	var agents []*fakeAgent
	for i := range 3 {
		a := b.agent(fmt.Sprintf("eu/a%d", i), event.WALID(i+1))
		agents = append(agents, a)
	}
	sent := map[*fakeAgent]*[event.Lanes]int{}
	answered := 0
	for range 300 {
		a := agents[rng.IntN(len(agents))]
		switch op := rng.IntN(12); {
		case a.session == 0:
			if m, ok := b.open(a, [event.Lanes]uint64{1, 1}, [event.Lanes]uint64{a.next[0] - 1, a.next[1] - 1}).(*wire.Opened); ok {
				at := &[event.Lanes]int{}
				for l := range at {
					for at[l] < len(a.batches[l]) && a.batches[l][at[l]].first < m.Resume[l] {
						at[l]++
					}
				}
				sent[a] = at
			} else {
				a.session = 0
			}
		case op < 6:
			l := event.Lane(rng.IntN(2))
			beat := rng.IntN(4)
			a.writeEvents(b.t, l, 1+rng.IntN(40), rng.IntN(2) == 0, func(i int, e *event.Event) {
				if i == beat {
					e.Kind, e.Signal = event.Heartbeat, "readable"
				}
			})
			i := sent[a][l]
			sent[a][l]++
			b.send(a, l, i, a.batches[l][i].last)
		case op < 9:
			b.tick(int64(rng.IntN(1500)) * 1e6)
		case op == 9 && rng.IntN(4) == 0:
			b.do(recClose, encodeNumbers(a.session))
			a.session = 0
		case op == 10 && rng.IntN(6) == 0:
			b.uplink(0)
			answered = len(b.log)
			b.uplink(1)
		case op == 11:
			at := len(b.log)
			b.root(answered)
			answered = at
		}
		step()
	}
}

// TestRestoredCoreGoesOnAlike restores a second core from a snapshot after
// every record; the two must say the same from then on.
func TestRestoredCoreGoesOnAlike(t *testing.T) {
	for seed := range uint64(5) {
		b := newBench(t)
		script(b, seed, exchanging(b, func() {
			w := pack.NewWriter()
			b.core.AppendState(w)
			c := b.newCore()
			r := pack.NewReader(w.Bytes())
			if err := c.ReadState(r); err != nil {
				t.Fatalf("restore: %v", err)
			}
			if err := r.Done(); err != nil {
				t.Fatalf("restore: %v", err)
			}
			again := pack.NewWriter()
			c.AppendState(again)
			if !bytes.Equal(w.Bytes(), again.Bytes()) {
				t.Fatal("a restored state has other bytes")
			}
			b.core = c
		}))
		straight := newBench(t)
		script(straight, seed, exchanging(straight, func() {}))
		if !slices.ContainsFunc(b.log, func(o journal.Output) bool { return o.Kind == outWindows }) {
			t.Errorf("seed %d: no window was told", seed)
		}
		if len(b.matches()) == 0 {
			t.Errorf("seed %d: no pattern matched", seed)
		}
		if got, want := digest(b.log), digest(straight.log); got != want {
			t.Errorf("seed %d: restored at every step it says %s, straight %s", seed, got, want)
		}
	}
}

func digest(outs []journal.Output) string {
	h := sha256.New()
	for _, o := range outs {
		fmt.Fprintf(h, "%s %d %x\n", o.To, o.Kind, o.Body)
	}
	return fmt.Sprintf("%d outputs %x", len(outs), h.Sum(nil))
}

// TestGoldenTrace pins the core's outputs, byte for byte, on every machine.
func TestGoldenTrace(t *testing.T) {
	var out strings.Builder
	for seed := range uint64(3) {
		b := newBench(t)
		script(b, seed, func() {})
		fmt.Fprintf(&out, "seed %d\n----\n%s\n", seed, digest(b.log))
	}
	golden.Compare(t, "core.golden", []byte(out.String()), "raise logicVersion")
}
