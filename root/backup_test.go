//go:build !zos

package root

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"pando/tree/custody"
	"pando/tree/wire"
)

func backup(t testing.TB, f *FSM) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeBackup(&b, f.view(), 3); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackupSaysWhatIsInIt(t *testing.T) {
	s := newStage(t)
	scenario(s, rand.New(rand.NewPCG(1, 2)), 60)
	b := backup(t, s.f)
	head, contents, err := InspectBackup(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	v := s.f.view()
	if head.Index != v.index || head.Term != 3 || head.Time != v.now || head.Logic != firstLogic || head.Bytes != int64(len(b)) || len(head.SHA256) != 64 {
		t.Fatalf("%+v", head)
	}
	if contents.Commands != v.count || contents.Units != v.units.Len() || contents.Settled != v.settled {
		t.Fatalf("%+v", contents)
	}
}

// Any other byte, and any other length, shows.
func TestDamagedBackupIsRefused(t *testing.T) {
	s := newStage(t)
	scenario(s, rand.New(rand.NewPCG(1, 2)), 10)
	good := backup(t, s.f)
	check := func(what string, b []byte) {
		t.Helper()
		if _, err := CheckBackup(bytes.NewReader(b)); !errors.Is(err, ErrBackup) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		check("a flipped bit", bad)
	}
	for n := range good {
		check("a short one", good[:n])
	}
	check("a long one", append(bytes.Clone(good), 0))
	if _, err := CheckBackup(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
}

func FuzzBackup(f *testing.F) {
	s := newStage(f)
	scenario(s, rand.New(rand.NewPCG(1, 2)), 10)
	f.Add(backup(f, s.f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := InspectBackup(bytes.NewReader(b)); err == nil && b[0] != backupMagic[0] {
			t.Fatal("something else was taken for a snapshot")
		}
	})
}

// TestStateGoesBack saves the state, goes on, and puts it back: all roots have
// the old state, the roots themselves are where they are now, and what comes
// after is settled on top of it.
func TestStateGoesBack(t *testing.T) {
	g := newTunedGroup(t, joining)
	leader := g.leader()
	r1 := g.relay("r1", leader)
	r1.claim(wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10})
	r1.digest(2, section("eu/r1", critical(agent, 1), term(1, 1), 1, 20))
	var saved bytes.Buffer
	if err := g.roots[leader].SaveSnapshot(within(t), &saved); err != nil {
		t.Fatal(err)
	}
	r1.digest(3, section("eu/r1", critical(agent, 1), term(1, 1), 21, 40))
	added := g.join()
	place := g.place(added)
	place.API = "https://127.0.0.1:9" // which only the book knows
	g.add(leader, added, place)

	broken := bytes.Clone(saved.Bytes())
	broken[len(broken)/2] ^= 1
	if _, err := g.roots[leader].RestoreSnapshot(within(t), bytes.NewReader(broken)); !errors.Is(err, ErrBackup) {
		t.Fatalf("a damaged snapshot: %v", err)
	}
	b, err := g.roots[leader].RestoreSnapshot(within(t), bytes.NewReader(saved.Bytes()))
	if err != nil || b.Bytes != int64(saved.Len()) {
		t.Fatalf("%+v, %v", b, err)
	}
	for i, r := range g.roots {
		us, err := r.Units(within(t), false)
		if err != nil || len(us) != 2 || us[0].Settled != 20 {
			t.Fatalf("root %d: %+v, %v", i+1, us, err)
		}
		if v := r.fsm.view(); v.restores != 1 {
			t.Fatalf("root %d counts %d restores", i+1, v.restores)
		}
	}
	g.eventually("the new root stands in every book", func() bool {
		for _, r := range g.roots {
			if s, ok := find(r.book(), g.roots[added].Name()); !ok || s != place {
				return false
			}
		}
		return true
	})
	a := r1.digest(4, section("eu/r1", critical(agent, 1), term(1, 1), 21, 30))
	if a.Judgements[0].Verdict != custody.Apply || a.Judgements[0].Settled != 30 {
		t.Fatalf("%+v", a)
	}
	g.eventually("all agree on the state afterwards", func() bool { return g.roots[leader].State().Agreed == 4 })
}
