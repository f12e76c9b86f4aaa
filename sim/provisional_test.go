package sim

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/relay"
	"pando/root"
	"pando/root/consensus"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// region is a relay's core and packing and the roots' state machine, with a
// connection that a test cuts at any message.
type region struct {
	t     *testing.T
	eager bool // the sender wakes after each output

	core    relay.Core
	out     relay.Outgoing
	records [][]byte // kind and body
	up      bool
	left    int  // messages until the session is lost; below 0: it is not
	slow    bool // findings are not answered for now
	held    []transport.Message
	fsm     *root.FSM
	at      consensus.At
	now     int64
	agent   event.Batch
	chain   event.Hash
	shown   map[string]bool
}

const regionEpoch = int64(1_700_000_000_000_000_000)

func newRegion(t *testing.T, eager bool) *region {
	fsm, err := root.NewFSM()
	if err != nil {
		t.Fatal(err)
	}
	r := &region{t: t, eager: eager, fsm: fsm, now: regionEpoch, left: -1, shown: map[string]bool{}}
	r.core = r.newCore()
	r.step(relay.StartRecord("eu/r1"))
	config, err := relay.ConfigRecord([]byte("rules: [{name: any, entity: app/*, count: 3, within: 10s, class: error, severity: warn}]\nhold: 30s\nrearm: 30s\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.step(config)
	r.tick()
	open := wire.Open{WAL: 7, Term: custody.Term{Epoch: 1, Session: 1}}
	for l := range open.Offers {
		open.Offers[l] = custody.Offer{From: 1}
	}
	rec, err := relay.OpenRecord(1, "eu/a", 1, wire.Encode(&open).Body)
	if err != nil {
		t.Fatal(err)
	}
	r.step(rec)
	return r
}

func (r *region) newCore() relay.Core {
	c, err := relay.NewCore("eu/r1", func(seq wal.Seq) (uint8, []byte, error) {
		b := r.records[seq-1]
		return b[0], b[1:], nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// step appends a record to the relay's log, and takes what the core says.
func (r *region) step(rec relay.Record) {
	r.t.Helper()
	r.records = append(r.records, append([]byte{rec.Kind}, rec.Body...))
	var said []journal.Output
	if err := r.core.Step(wal.Seq(len(r.records)), rec.Kind, rec.Body, func(o journal.Output) { said = append(said, o) }); err != nil {
		r.t.Fatal(err)
	}
	for _, i := range r.core.Provisional() {
		r.shown[i.ID] = true
	}
	for _, o := range said {
		if to, _ := relay.Address(o); to == relay.ToRoot {
			r.out.Put(o)
			if r.eager {
				r.pump()
			}
		}
	}
	r.pump()
}

// pump sends what may go, while there is a session.
func (r *region) pump() {
	for r.up {
		list := r.out.Due()
		if !r.slow {
			list, r.held = append(r.held, list...), nil
		}
		if m, ok := r.out.DueBulk(); ok {
			list = append(list, m)
		}
		if len(list) == 0 {
			return
		}
		for _, m := range list {
			if r.slow && m.Kind == wire.KindFindings {
				r.held = append(r.held, m)
				continue
			}
			if !r.lives() {
				return
			}
			cmd, err := root.Command(r.now, "eu/r1", m)
			if err != nil {
				r.t.Fatal(err)
			}
			answer, err := root.Answer(m, r.apply(cmd))
			if err != nil {
				r.t.Fatal(err)
			}
			if !r.lives() {
				return // the roots have it, and the relay does not know
			}
			rec, due, err := r.out.Answer(answer)
			if err != nil {
				r.t.Fatal(err)
			}
			if due {
				r.step(rec)
			}
		}
	}
}

// lives counts a message, and loses the session if it is the one to go.
func (r *region) lives() bool {
	if r.up && r.left == 0 {
		r.up = false
		r.out.Close()
		r.step(relay.UplinkRecord(false))
	}
	r.left--
	return r.up
}

func (r *region) apply(cmd []byte) any {
	r.t.Helper()
	r.at = consensus.At{Index: r.at.Index + 1, Term: 1, Items: 1}
	value, err := r.fsm.Apply(r.at, cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// heal begins a session that is lost after so many messages, or not if below 0.
func (r *region) heal(left int) {
	r.up, r.left = true, left
	r.out.Open()
	r.step(relay.UplinkRecord(true))
}

// cut ends the session.
func (r *region) cut() {
	if r.up {
		r.up = false
		r.out.Close()
		r.step(relay.UplinkRecord(false))
	}
}

// restart makes the relay a new process that starts from a checkpoint.
func (r *region) restart() {
	r.cut()
	w := pack.NewWriter()
	r.core.AppendState(w)
	r.core = r.newCore()
	if err := r.core.ReadState(pack.NewReader(w.Copy())); err != nil {
		r.t.Fatal(err)
	}
	r.out = relay.Outgoing{}
	r.step(relay.StartRecord("eu/r1"))
}

// tick lets a moment pass at both ends.
func (r *region) tick() {
	r.now += 1e8
	r.step(relay.TickRecord(r.now))
	r.apply(root.TickCommand(r.now))
}

// lines has n lines of an entity arrive, and are calls of a peer if it has a
// name.
func (r *region) lines(entity, peer string, severity event.Severity, n int) {
	r.t.Helper()
	first := r.agent.First + uint64(len(r.agent.Events))
	r.agent = event.Batch{Unit: event.Unit{Origin: "eu/a", WAL: 7}, First: max(first, 1), Boot: clock.Boot{1}}
	for i := range n {
		at := r.now - regionEpoch + int64(i)
		r.agent.Events = append(r.agent.Events, event.Event{Seq: r.agent.First + uint64(i), Entity: entity, Peer: peer, Signal: "log",
			Severity: severity, Stamp: event.Stamp{Lo: at, Hi: at, Point: at}})
	}
	body, err := r.agent.Encode(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	m := wire.Batch{Before: r.chain, DurableTo: r.agent.Last(), Mapped: true, Bytes: body,
		Map: clock.Mapping{Boot: clock.Boot{1}, Offset: regionEpoch, Bound: 1e6}}
	r.chain = event.Chain(r.chain, body)
	rec, err := relay.BatchRecord(1, event.Critical, r.now, wire.Encode(&m).Body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.step(rec)
}

// elsewhere is a finding of another region, of an entity and whom it calls.
func (r *region) elsewhere(entity, peer string) {
	id := sha256.Sum256([]byte(entity))
	f := anomaly.Finding{ID: anomaly.ID(id[:16]), Revision: 1, Detector: anomaly.DetectorRule, Rule: "r", Version: 1, Class: anomaly.Error,
		Series: stream.Series{Entity: entity, Signal: "http.503"}, Peer: peer, Onset: clock.Interval{Lo: r.now - 2e9, Hi: r.now - 1e9},
		Point: r.now - 15e8, Decided: r.now, Detected: r.now, Score: 1000, Severity: event.SeverityError, Summary: entity + " fails"}
	m := wire.Encode(&wire.Findings{ID: 1, Findings: []anomaly.Finding{f}})
	cmd, err := root.Command(r.now, "us/r2", m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.apply(cmd)
}

// cutOff is what happens while the region is cut off: two incidents that began in
// another region, of which the relay sees one.
func (r *region) cutOff() {
	r.t.Helper()
	r.elsewhere("app/more", "")
	r.elsewhere("app/core", "")
	r.lines("app/a", "app/core", event.SeverityWarn, 5)
	r.lines("app/b", "app/a", event.SeverityWarn, 5)
	r.tick()
	if len(r.shown) != 1 {
		r.t.Fatalf("cut off, the relay shows %v", r.shown)
	}
	r.lines("app/more", "", event.SeverityWarn, 5)
	r.lines("app/late", "", event.SeverityWarn, 5)
}

// together teaches the region that the two entities of the other incident belong
// together.
func (r *region) together() {
	r.lines("app/late", "app/more", event.SeverityWarn, 1)
	r.tick()
}

// check lets time pass, and then all is to be the roots'.
func (r *region) check() {
	r.t.Helper()
	for range 30 {
		r.tick()
	}
	if left := r.core.Provisional(); len(left) > 0 {
		r.t.Errorf("still provisional: %+v", left)
	}
	for id := range r.shown {
		if d, err := r.fsm.Incident(id); err != nil || d.First != "app/core" && d.First != "app/more" {
			r.t.Errorf("%s leads to %s of %s, %v", id, d.ID, d.First, err)
		}
	}
	opened := map[string]int{}
	for _, c := range r.fsm.Changes() {
		if c.Kind == "opened" {
			opened[c.ID]++
		}
	}
	if len(opened) != 2 {
		r.t.Errorf("the roots opened %v", opened)
	}
	for id, n := range opened {
		if n != 1 {
			r.t.Errorf("the roots announced %s %d times", id, n)
		}
	}
}

// A region is cut off and makes incidents of its own, of which some form only
// after it is back. Wherever sessions are lost on the way, and whether the relay
// restarts, each id that it ever showed leads to the roots' incident, nothing
// stays provisional, and the roots announce each incident once.
func TestEveryProvisionalIDLeadsToTheRootsIncident(t *testing.T) {
	late := 0 // incidents that form when the region is back
	for _, eager := range []bool{false, true} {
		t.Run(fmt.Sprintf("eager %t, one session", eager), func(t *testing.T) {
			r := newRegion(t, eager)
			r.cutOff()
			r.slow = true
			r.heal(-1)
			r.together()
			r.slow = false
			r.pump()
			r.check()
			if len(r.shown) != 2 {
				t.Errorf("the relay showed %v", r.shown)
			}
		})
		for _, restarts := range []bool{false, true} {
			for lost := range 24 {
				t.Run(fmt.Sprintf("eager %t, restarts %t, lost after %d", eager, restarts, lost), func(t *testing.T) {
					r := newRegion(t, eager)
					r.cutOff()
					r.heal(lost)
					r.together()
					if restarts {
						r.restart()
					} else {
						r.cut()
					}
					r.heal(lost / 2)
					r.tick()
					r.cut()
					r.heal(-1)
					r.check()
					late += len(r.shown) - 1
				})
			}
		}
	}
	if late == 0 {
		t.Error("no incident formed when the region was back")
	}
}
