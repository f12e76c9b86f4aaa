//go:build !zos

package root

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pando/event"
	"pando/internal/pack"
	"pando/root/consensus"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
	"pando/tree/wire"
)

// scenario says many things, most of them right.
func scenario(s *stage, rng *rand.Rand, steps int) {
	relays := []string{"eu/r1", "eu/r2", "us/r3"}
	settled := map[event.Unit]uint64{}
	for n := range steps {
		s.pass(rng.Float64())
		relay := relays[rng.IntN(len(relays))]
		name, wal := fmt.Sprintf("eu/a%d", rng.IntN(4)), event.WALID(1+n/40+rng.IntN(2))
		u := event.Unit{Origin: name, WAL: wal, Lane: event.Lane(rng.IntN(2))}
		switch rng.IntN(9) {
		case 0:
			s.apply(tickCommand(s.now))
		case 1:
			s.claim(relay, name, wal, term(1, uint64(n)), uint64(n))
		case 2:
			f := finding(fmt.Sprintf("finding %d", rng.IntN(60)), "shop/"+name, s.now)
			f.Peer, f.Ended, f.Revision = "shop/db", rng.IntN(3) == 0, uint32(1+rng.IntN(3))
			s.report(relay, wire.Findings{ID: uint64(n), Findings: []anomaly.Finding{f}})
		case 3:
			s.apply(nodeCommand(s.now, member{name: relay, role: "relay", region: "eu", addr: "host:1"}))
		case 4:
			s.apply(markCommand(s.now, 3))
			m := s.f.view().mark
			s.apply(voteCommand(s.now, "core/root-1", m.number, m.hash))
		default:
			owner, _ := s.f.view().units.Get(u)
			h := section(relay, u, term(1, uint64(n)), settled[u]+1, settled[u]+1+rng.Uint64N(5),
				event.Position{Source: fmt.Sprintf("log#%d", rng.IntN(5)), File: "f", Offset: int64(n)})
			if owner != nil {
				h.Head.Relay, h.Head.Term, h.Head.Rest = owner.owner.Relay, owner.owner.Term, owner.owner.Closed
			}
			if js := s.digest(h.Head.Relay, h); js[0].Verdict == custody.Apply {
				settled[u] = js[0].Settled
			}
			if owner != nil && !owner.owner.Closed {
				s.report(owner.owner.Relay, wire.Findings{Expect: []wire.Expect{{Unit: u, Term: owner.owner.Term,
					Known: anomaly.Expectations{Since: epoch, Codes: []stream.Series{{Entity: "e", Signal: fmt.Sprint(n)}}}}}})
			}
		}
	}
}

// TestRestoreAndTailIsReplay is the classic source of divergence: a member
// that starts from a snapshot taken anywhere must end in the same bytes.
func TestRestoreAndTailIsReplay(t *testing.T) {
	s := newStage(t)
	scenario(s, rand.New(rand.NewPCG(1, 2)), 300)
	want := snapshot(t, s.f)
	full, err := NewFSM()
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.cmds {
		b := snapshot(t, full)
		again := restored(t, b)
		if !bytes.Equal(snapshot(t, again), b) {
			t.Fatalf("at command %d: a restored state writes another snapshot", i)
		}
		if i%7 == 0 {
			replayOn(t, again, s.cmds, i)
			if !bytes.Equal(snapshot(t, again), want) {
				t.Fatalf("restored at command %d and played to the end: another state", i)
			}
			if again.state.sum() != s.f.state.sum() {
				t.Fatalf("restored at command %d: another hash of the state", i)
			}
		}
		replayOn(t, full, s.cmds[:i+1], i)
	}
}

// TestFrozenStateStays writes a snapshot after the state has moved on.
func TestFrozenStateStays(t *testing.T) {
	s := newStage(t)
	scenario(s, rand.New(rand.NewPCG(3, 4)), 100)
	frozen := s.f.Freeze()
	want := snapshot(t, s.f)
	scenario(s, rand.New(rand.NewPCG(5, 6)), 100)
	var b bytes.Buffer
	if _, err := frozen.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Fatalf("the frozen state changed, or %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	s := newStage(f)
	scenario(s, rand.New(rand.NewPCG(7, 8)), 12)
	f.Add(snapshot(f, s.f))
	s.apply(logicCommand(s.now, patternLogic))
	s.exchange(twice("twice", time.Hour, ""))
	s.find("eu/r1", "begins", "shop/db", 0)
	s.wait(6)
	s.find("eu/r1", "waits", "shop/db", 0)
	f.Add(snapshot(f, s.f))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := NewFSM()
		if err != nil {
			t.Fatal(err)
		}
		if m.Restore(bytes.NewReader(b)) != nil {
			return
		}
		once := snapshot(t, m)
		if !bytes.Equal(snapshot(t, restored(t, once)), once) {
			t.Fatal("what was read is not what is written")
		}
	})
}

func FuzzApply(f *testing.F) {
	s := newStage(f)
	scenario(s, rand.New(rand.NewPCG(9, 1)), 40)
	for _, cmd := range s.cmds {
		f.Add(cmd)
	}
	// The state that commands meet has patterns, and a run that is half done.
	s.apply(logicCommand(s.now, patternLogic))
	s.exchange(twice("twice", time.Hour, ""), unanswered("unanswered", time.Minute))
	s.find("eu/r1", "begins", "shop/db", 0)
	f.Add(patternsCommand(s.now, s.f.view().patterns.version, encodedSet(f, twice("twice", time.Hour, "in other words"))))
	f.Add(findingsCommand(s.now, "eu/r1", &wire.Findings{ID: 1, Findings: []anomaly.Finding{finding("ends", "shop/db", s.now)}}))
	base := snapshot(f, s.f)
	f.Fuzz(func(t *testing.T, cmd []byte) {
		m := restored(t, base)
		if _, err := m.Apply(consensus.At{Index: 1 << 20, Term: 1, Items: 1}, cmd); err != nil {
			return
		}
		b := snapshot(t, m)
		if !bytes.Equal(snapshot(t, restored(t, b)), b) {
			t.Fatal("the state after the command cannot be restored")
		}
	})
}

func BenchmarkDigest(b *testing.B) {
	s := newStage(b)
	u := critical(agent, 1)
	s.claim("eu/r1", agent, 1, term(1, 1), 10)
	fold := stream.NewFold(stream.DefaultLimits())
	for i := range 10_000 {
		e := event.Event{Entity: fmt.Sprintf("shop/%d", i%500), Signal: "http.200", Value: 1, Peer: "shop/db"}
		fold.Merge(stream.RowsOf(&e, epoch+int64(i)*1e5))
	}
	rows := fold.Take()
	var bytes int
	seq := uint64(0)
	for b.Loop() {
		sec := wire.Section{Head: custody.Head{Unit: u, Term: term(1, 1), Relay: "eu/r1", From: seq + 1, To: seq + 10_000,
			Before: chain(u, seq), After: chain(u, seq+10_000)}, Rows: rows}
		cmd := digestCommand(s.now, "eu/r1", [][]byte{wire.EncodeSection(&sec)})
		bytes += len(cmd)
		s.at.Index++
		if _, err := s.f.Apply(s.at, cmd); err != nil {
			b.Fatal(err)
		}
		seq += 10_000
	}
	if got, _ := s.f.view().units.Get(u); got.events != seq {
		b.Fatalf("%d of %d events were counted", got.events, seq)
	}
	b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(seq)/10_000*float64(len(rows.Rows)+len(rows.Edges))/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(bytes)/float64(seq), "bytes/event")
}

func TestVoteIsReadBack(t *testing.T) {
	w := pack.NewWriter()
	m := mark{number: 3, index: 4, members: 3, votes: []vote{{member: "a", number: 3}, {member: "b", number: 3}}}
	m.append(w)
	var got mark
	r := pack.NewReader(w.Bytes())
	got.read(r)
	if err := r.Done(); err != nil || fmt.Sprint(got) != fmt.Sprint(m) {
		t.Fatalf("%+v, %v", got, err)
	}
}
