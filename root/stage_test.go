//go:build !zos

package root

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/root/consensus"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/wire"
)

// epoch is the root time at which every stage begins.
const epoch = int64(1_700_000_000_000_000_000)

// stage is a state machine to which tests speak in words. It keeps what was
// said, so that it can be said again.
type stage struct {
	t    testing.TB
	f    *FSM
	at   consensus.At
	now  int64
	cmds [][]byte
}

func newStage(t testing.TB) *stage {
	t.Helper()
	f, err := NewFSM()
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, f: f, now: epoch}
}

func (s *stage) apply(cmd []byte) result {
	s.t.Helper()
	s.at.Index++
	s.at.Term, s.at.Items = 1, 1
	s.cmds = append(s.cmds, cmd)
	value, err := s.f.Apply(s.at, cmd)
	if err != nil {
		s.t.Fatalf("command %d: %v", s.at.Index, err)
	}
	return value.(result)
}

// pass lets seconds go by.
func (s *stage) pass(seconds float64) { s.now += int64(seconds * 1e9) }

func term(epoch, session uint64) custody.Term { return custody.Term{Epoch: epoch, Session: session} }

// claim asks for the units of agent's WAL id.
func (s *stage) claim(relay, agent string, wal event.WALID, t custody.Term, opened uint64) *wire.ClaimAnswer {
	s.t.Helper()
	res := s.apply(claimCommand(s.now, relay, &wire.Claim{ID: 7, Origin: agent, WAL: wal, Term: t, Opened: opened}))
	var a wire.ClaimAnswer
	if err := wire.Decode(res.answer.Body, &a); err != nil {
		s.t.Fatal(err)
	}
	return &a
}

// chain is the chain value of a unit after so many events.
func chain(u event.Unit, seq uint64) event.Hash {
	if seq == 0 {
		return event.Hash{}
	}
	return sha256.Sum256(fmt.Appendf(nil, "%s %d", u, seq))
}

// section holds the events from to to of a unit, each of value 1, one entity
// calling another.
func section(relay string, u event.Unit, t custody.Term, from, to uint64, positions ...event.Position) wire.Section {
	fold := stream.NewFold(stream.DefaultLimits())
	for seq := from; seq <= to; seq++ {
		e := event.Event{Seq: seq, Entity: "shop/" + u.Origin, Signal: "http.200", Value: 1, Peer: "shop/db"}
		fold.Merge(stream.RowsOf(&e, epoch+int64(seq)*1e7))
	}
	return wire.Section{Head: custody.Head{Unit: u, Term: t, Relay: relay, From: from, To: to, Before: chain(u, from-1), After: chain(u, to)},
		Positions: positions, Rows: fold.Take()}
}

// digest sends sections and returns the judgements.
func (s *stage) digest(relay string, sections ...wire.Section) []wire.Judgement {
	s.t.Helper()
	var encoded [][]byte
	for i := range sections {
		encoded = append(encoded, wire.EncodeSection(&sections[i]))
	}
	res := s.apply(digestCommand(s.now, relay, encoded))
	var a wire.DigestAnswer
	if err := wire.Decode(res.answer.Body, &a); err != nil {
		s.t.Fatal(err)
	}
	if len(a.Judgements) != len(sections) || res.fault != "" {
		s.t.Fatalf("%d sections have %d judgements, fault %q", len(sections), len(a.Judgements), res.fault)
	}
	return a.Judgements
}

// want checks the verdict on a digest of one section and where its unit is
// settled.
func (s *stage) want(js []wire.Judgement, v custody.Verdict, settled uint64) {
	s.t.Helper()
	if js[0].Verdict != v || js[0].Settled != settled {
		s.t.Fatalf("judged %q, settled at %d; want %q at %d", js[0].Verdict, js[0].Settled, v, settled)
	}
}

// counted checks that a unit's events were counted once each.
func (s *stage) counted(u event.Unit, events uint64) {
	s.t.Helper()
	got, ok := s.f.view().units.Get(u)
	if !ok || got.events != events || got.sum.Float() != float64(events) || got.owner.Settled != events {
		s.t.Fatalf("%s: %+v, want %d events", u, got, events)
	}
}

// finding is one of an entity at a time, by its summary.
func finding(summary, entity string, at int64) anomaly.Finding {
	id := sha256.Sum256([]byte(summary))
	return anomaly.Finding{ID: anomaly.ID(id[:16]), Revision: 1, Detector: anomaly.DetectorRule, Rule: "r", Version: 1, Class: anomaly.Error,
		Series: stream.Series{Entity: entity, Signal: "http.503"}, Onset: clock.Interval{Lo: at - 1e6, Hi: at + 1e6}, Point: at,
		Decided: at + 2e6, Detected: at + 3e6, Score: 1000, Severity: event.SeverityError, Summary: summary}
}

func (s *stage) report(relay string, m wire.Findings) result {
	s.t.Helper()
	return s.apply(findingsCommand(s.now, relay, &m))
}

// snapshot returns the state's bytes.
func snapshot(t testing.TB, f *FSM) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := f.Freeze().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// restored returns a state machine made from a snapshot.
func restored(t testing.TB, b []byte) *FSM {
	t.Helper()
	f, err := NewFSM()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return f
}

func replayOn(t testing.TB, f *FSM, cmds [][]byte, from int) {
	t.Helper()
	for i := from; i < len(cmds); i++ {
		if _, err := f.Apply(consensus.At{Index: uint64(i + 1), Term: 1, Items: 1}, cmds[i]); err != nil {
			t.Fatalf("command %d: %v", i+1, err)
		}
	}
}

func critical(agent string, wal event.WALID) event.Unit {
	return event.Unit{Origin: agent, WAL: wal, Lane: event.Critical}
}
