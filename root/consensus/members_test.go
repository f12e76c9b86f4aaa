//go:build !zos

package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
)

// join starts a member that never bootstraps, and returns its number.
func (g *group) join() int {
	g.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	i := len(g.servers)
	g.servers = append(g.servers, Server{ID: fmt.Sprintf("root-%d", i), Addr: l.Addr().String()})
	g.members = append(g.members, nil)
	g.start(i, l)
	return i
}

// joiners makes members from number i on start without a group of their own.
func joiners(from int) func(*Options) {
	return func(o *Options) {
		var n int
		if _, err := fmt.Sscanf(o.ID, "root-%d", &n); err == nil && n >= from {
			o.BootstrapExpect, o.Servers = 0, nil
		} else {
			o.BootstrapExpect, o.Servers = from, o.Servers[:from]
		}
	}
}

func (g *group) ctx() context.Context {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	g.t.Cleanup(cancel)
	return ctx
}

// A member is added without a vote, catches up, gets its vote, and another one
// is removed: the group is the same for everybody, and survives on the new
// majority.
func TestMemberIsExchanged(t *testing.T) {
	g := newGroup(t, 3, joiners(3))
	lead := g.leader()
	g.load("a", 4, 10)
	added := g.join()
	node := g.members[lead].node
	if err := node.AddNonvoter(g.ctx(), g.servers[added]); err != nil {
		t.Fatal(err)
	}
	g.agree(40)
	before := node.Group()
	if m, ok := before.Find("root-3"); !ok || m.Voter || before.Voters() != 3 {
		t.Fatalf("%+v", before)
	}
	if err := node.Promote(g.ctx(), before, g.servers[added]); err != nil {
		t.Fatal(err)
	}
	gone := (lead + 1) % 3
	if err := node.Remove(g.ctx(), before, g.servers[gone].ID); err == nil {
		t.Fatal("a change of a group that has changed since was taken")
	}
	if err := node.Remove(g.ctx(), node.Group(), g.servers[gone].ID); err != nil {
		t.Fatal(err)
	}
	g.stop(gone)
	// The majority of {lead, other, added} needs the new member now.
	g.stop((lead + 2) % 3)
	g.load("b", 2, 5)
	g.agree(50)
	if got := g.members[added].node.Group(); got.Voters() != 3 || len(got.Members) != 3 {
		t.Fatalf("the new member knows %+v", got)
	}
	g.stop(added)
	g.start(added, nil)
	g.eventually("the group is known after a restart", func() bool { return g.members[added].node.Group().Voters() == 3 })
}

func TestLeadershipIsHandedTo(t *testing.T) {
	g := newGroup(t, 3, nil)
	lead := g.leader()
	want := (lead + 1) % 3
	g.load("a", 1, 3)
	g.agree(3)
	if err := g.members[lead].node.Transfer(g.ctx(), g.servers[want].ID); err != nil {
		t.Fatal(err)
	}
	g.eventually("the one that was named leads", func() bool { return g.members[want].node.Stats().Ready })
	if err := g.members[lead].node.Transfer(g.ctx(), ""); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("a follower handed leadership over: %v", err)
	}
}

// The state goes back for all members, and reads go on, though nothing is
// proposed after it.
func TestRestoreGoesBackEverywhere(t *testing.T) {
	g := newGroup(t, 3, nil)
	lead := g.leader()
	g.load("a", 2, 5)
	g.agree(10)
	var saved bytes.Buffer
	if _, err := g.members[lead].fsm.Freeze().WriteTo(&saved); err != nil {
		t.Fatal(err)
	}
	index := g.members[lead].node.Stats().AppliedIndex
	g.load("b", 2, 5)
	g.agree(20)
	node := g.members[lead].node
	if err := node.Restore(index, int64(saved.Len()), bytes.NewReader(saved.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := node.Linearizable(g.ctx()); err != nil {
		t.Fatal(err)
	}
	g.agree(10)
	g.load("c", 1, 5)
	g.agree(15)
	if node.Group().Voters() != 3 {
		t.Fatalf("the members have changed: %+v", node.Group())
	}
}

// Two of three are lost for good. The third becomes a group of one with all
// that it has, and grows again.
func TestRecoverFromALostMajority(t *testing.T) {
	eachStore(t, func(t *testing.T, store func(*Options)) {
		three := joiners(3)
		g := newGroup(t, 3, func(o *Options) { store(o); three(o) })
		lead := g.leader()
		g.load("a", 2, 10)
		g.agree(20)
		kept := (lead + 1) % 3
		for i := range 3 {
			g.stop(i)
		}
		dir := filepath.Join(g.dir, g.servers[kept].ID)
		o := g.options(kept)
		survey, err := Survey(dir, o.Store, nil)
		if err != nil || len(survey.Before.Members) != 3 {
			t.Fatalf("%+v, %v", survey, err)
		}
		alone := []Member{{g.servers[kept], true}}
		if _, err := Recover(dir, o.Store, newLedger(), "root-9", alone, nil); err == nil {
			t.Fatal("a member that is not in the list was recovered")
		}
		rec, err := Recover(dir, o.Store, newLedger(), g.servers[kept].ID, alone, nil)
		if err != nil || rec.Index != survey.Index || len(rec.After.Members) != 1 {
			t.Fatalf("%+v, %v", rec, err)
		}
		g.start(kept, nil)
		g.eventually("the member leads", func() bool { return g.members[kept].node.Stats().Ready })
		g.agree(20)
		added := g.join()
		if err := g.members[kept].node.AddNonvoter(g.ctx(), g.servers[added]); err != nil {
			t.Fatal(err)
		}
		g.load("b", 1, 5)
		g.agree(25)
	})
}

func TestRecoverNeedsAMember(t *testing.T) {
	if _, err := Recover(t.TempDir(), WAL, newLedger(), "a", []Member{{Server{"a", "x:1"}, true}}, nil); !errors.Is(err, ErrNoMember) {
		t.Fatal(err)
	}
}

// One of three that starts alone waits: it neither leads nor takes anything.
// When the others come, all three are one group, and a restart with another
// list changes nothing.
func TestOneOfThreeWaits(t *testing.T) {
	g := &group{t: t, dir: t.TempDir(), members: make([]*member, 3)}
	t.Cleanup(g.stopAll)
	listeners := make([]net.Listener, 3)
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
		g.servers = append(g.servers, Server{ID: fmt.Sprintf("root-%d", i), Addr: l.Addr().String()})
	}
	g.start(0, listeners[0])
	alone := g.members[0].node
	g.eventually("it stands for election", func() bool { return alone.Stats().State == "Candidate" })
	if _, _, err := alone.Propose(g.ctx(), []byte("x")); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("one of three took a command: %v", err)
	}
	g.start(1, listeners[1])
	g.start(2, listeners[2])
	g.load("a", 2, 5)
	g.agree(10)
	term := g.members[0].node.Stats().Term

	g.stop(0)
	all := g.servers
	g.tune = func(o *Options) { o.BootstrapExpect, o.Servers = 1, all[:1] } // would be a group of one
	g.start(0, nil)
	g.load("b", 1, 5)
	g.agree(15)
	if got := g.members[0].node; len(got.Group().Members) != 3 || got.Stats().Term < term {
		t.Fatalf("the restarted member is in %+v", got.Group())
	}
}
