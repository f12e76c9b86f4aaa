//go:build !zos

package root

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pando/root/consensus"
	"pando/transport"
	"pando/tree/wire"
)

// joining makes all roots but the first three join a group.
func joining(i int, o *Options) {
	if i >= 3 {
		o.Raft.BootstrapExpect = 0
	}
}

// add has the leader add a root, and waits for its vote.
func (g *group) add(leader, i int, place Server) {
	g.t.Helper()
	err := g.roots[leader].AddMember(within(g.t), place)
	if errors.Is(err, consensus.ErrNotLeader) { // a busy machine elected another one
		g.lead(leader)
		err = g.roots[leader].AddMember(within(g.t), place)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.eventually("the new root has a vote", func() bool { return g.roots[i].votes() })
}

// lead makes a root lead. On a busy machine another one may be elected at any
// time after.
func (g *group) lead(i int) {
	g.t.Helper()
	g.eventually(fmt.Sprintf("root %d leads", i+1), func() bool {
		for j, r := range g.roots {
			if j != i && r.Leading() {
				if now, err := r.TransferLeadership(within(g.t), g.roots[i].Name()); err != nil {
					g.t.Logf("%q leads, %v", now, err)
				}
			}
		}
		return g.roots[i].Leading()
	})
}

// TestRootIsExchanged adds a root that stands in no configuration of the
// others, makes it the leader, and removes another one. Relays and followers
// find the new one by the address book alone.
func TestRootIsExchanged(t *testing.T) {
	g := newTunedGroup(t, joining)
	leader := g.leader()
	r1 := g.relay("r1", leader)
	r1.claim(wire.Claim{ID: 1, Origin: agent, WAL: 1, Term: term(1, 1), Opened: 10})
	r1.digest(2, section("eu/r1", critical(agent, 1), term(1, 1), 1, 20))

	added := g.join()
	g.add(leader, added, g.place(added))
	if err := g.roots[leader].AddMember(within(t), g.place(added)); err != nil {
		t.Fatalf("adding it again: %v", err)
	}
	js, err := g.roots[added].settle(within(t), "eu/r1", transport.LaneBulk, encoded(section("eu/r1", critical(agent, 1), term(1, 1), 21, 25)))
	if err != nil || js[0].Settled != 25 {
		t.Fatalf("through the new root: %+v, %v", js, err)
	}

	g.lead(added)
	follower := (leader + 1) % 3
	g.eventually("a relay is sent from a follower to the new root", func() bool {
		g.lead(added)
		return g.relay("r1", follower).at() == g.roots[added].Name()
	})
	js, err = g.roots[follower].settle(within(t), "eu/r1", transport.LaneBulk, encoded(section("eu/r1", critical(agent, 1), term(1, 1), 26, 30)))
	if err != nil || js[0].Settled != 30 {
		t.Fatalf("by the new leader: %+v, %v", js, err)
	}

	g.eventually("the old leader is removed", func() bool {
		g.lead(added)
		err := g.roots[added].RemoveMember(within(t), g.roots[leader].Name(), false)
		return err == nil || errors.Is(err, ErrNoMember) // by the attempt before, whose answer was lost
	})
	if err := g.ended(leader); !errors.Is(err, ErrRemoved) {
		t.Fatalf("it ended with %v", err)
	}
	g.eventually("the book has forgotten it", func() bool {
		_, known := find(g.roots[follower].book(), g.roots[leader].Name())
		return !known && len(g.roots[follower].Servers()) == 3
	})
	us, err := g.roots[follower].Units(within(t), false)
	if err != nil || us[0].Settled != 30 {
		t.Fatalf("%+v, %v", us, err)
	}
}

func encoded(sections ...wire.Section) [][]byte {
	var out [][]byte
	for i := range sections {
		out = append(out, wire.EncodeSection(&sections[i]))
	}
	return out
}

// TestRemovedWhileAway cuts a root off, removes it, and lets it come back: it
// learns that it is no member, and does not disturb the others.
func TestRemovedWhileAway(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	away := (leader + 1) % 3
	g.islands[away].setCut(true)
	g.eventually("it is missed", func() bool {
		m, err := g.roots[leader].Members(within(t), false)
		return err == nil && m.Members[away].State == stateSilent
	})
	if err := g.roots[leader].RemoveMember(within(t), g.roots[(leader+2)%3].Name(), false); !errors.Is(err, ErrQuorum) {
		t.Fatalf("the last healthy follower: %v", err)
	}
	if err := g.roots[leader].RemoveMember(within(t), g.roots[away].Name(), false); err != nil {
		t.Fatal(err)
	}
	term := g.roots[leader].node.Stats().Term
	g.islands[away].setCut(false)
	if err := g.ended(away); !errors.Is(err, ErrRemoved) {
		t.Fatalf("it ended with %v", err)
	}
	if now := g.roots[leader].node.Stats().Term; now != term || !g.roots[leader].Leading() {
		t.Fatalf("the removed root caused an election: term %d, then %d", term, now)
	}
}

func TestMembersAreShown(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	g.eventually("all are well", func() bool {
		m, err := g.roots[leader].Members(within(t), false)
		if err != nil || len(m.Members) != 3 || m.Leader != g.roots[leader].Name() || m.Logic != firstLogic {
			return false
		}
		for i, x := range m.Members {
			want := "follower"
			if i == leader {
				want = "leader"
			}
			if x.Name != g.roots[i].Name() || x.State != want || x.Suffrage != "voter" || x.Addr != g.roots[i].Addr() || x.Applied == 0 || x.Contact < 0 {
				return false
			}
		}
		return true
	})
	if _, err := g.roots[(leader+1)%3].Members(within(t), false); !errors.Is(err, consensus.ErrNotLeader) {
		t.Fatalf("a follower answers for the group: %v", err)
	}
	if m, err := g.roots[(leader+1)%3].Members(within(t), true); err != nil || len(m.Members) != 3 {
		t.Fatalf("stale: %+v, %v", m, err)
	}
}

func TestChangesThatMakeNoSense(t *testing.T) {
	g := newGroup(t)
	leader := g.leader()
	r, other := g.roots[leader], g.place((leader+1)%3)
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"name":       {r.AddMember(within(t), Server{Name: "root-9", Raft: "h:1", Addr: "h:2"}), ErrInput},
		"no port":    {r.AddMember(within(t), Server{Name: "core/root-9", Raft: "h", Addr: "h:2"}), ErrInput},
		"every host": {r.AddMember(within(t), Server{Name: "core/root-9", Raft: ":1", Addr: "h:2"}), ErrInput},
		"address":    {r.AddMember(within(t), Server{Name: "core/root-9", Raft: other.Raft, Addr: "h:2"}), ErrInput},
		"moved":      {r.AddMember(within(t), Server{Name: other.Name, Raft: "h:1", Addr: "h:2"}), ErrMember},
		"unknown":    {r.RemoveMember(within(t), "core/root-9", true), ErrNoMember},
		"itself":     {r.RemoveMember(within(t), r.Name(), true), ErrInput},
		"to itself":  {second(r.TransferLeadership(within(t), r.Name())), ErrInput},
		"to nobody":  {second(r.TransferLeadership(within(t), "core/root-9")), ErrNoMember},
		"follower":   {g.roots[(leader+1)%3].AddMember(within(t), Server{Name: "core/root-9", Raft: "h:1", Addr: "h:2"}), consensus.ErrNotLeader},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestRemainingVoters(t *testing.T) {
	group := func(votes ...bool) consensus.Group {
		g := consensus.Group{Index: 1}
		for i, v := range votes {
			g.Members = append(g.Members, consensus.Member{Server: consensus.Server{ID: fmt.Sprint(i)}, Voter: v})
		}
		return g
	}
	for _, c := range []struct {
		g          consensus.Group
		without    string
		ill        string // the ids that are not well
		left, need int
	}{
		{group(true, true, true), "2", "", 2, 2},
		{group(true, true, true), "1", "2", 1, 2},
		{group(true, true, true), "2", "2", 2, 2},
		{group(true, true), "1", "", 1, 1},
		{group(true, true, true, false), "3", "", 3, 2},
		{group(true, true, true, true, true), "0", "1", 3, 3},
		{group(true, true, true, true, true), "0", "12", 2, 3},
	} {
		well := func(id string) bool { return !strings.Contains(c.ill, id) }
		if left, need := remaining(c.g, c.without, well); left != c.left || need != c.need {
			t.Errorf("%+v without %s, %q ill: %d of %d, want %d of %d", c.g.Members, c.without, c.ill, left, need, c.left, c.need)
		}
	}
}

func TestProbation(t *testing.T) {
	p := probation{lag: 10, hold: time.Second}
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	for _, step := range []struct {
		ms   int
		well bool
		lag  uint64
		want bool
	}{
		{0, true, 11, false},
		{100, true, 10, false}, // begins
		{900, true, 0, false},
		{1000, false, 0, false}, // not heard: begins again
		{1100, true, 3, false},
		{2099, true, 3, false},
		{2100, true, 3, true},
		{2200, true, 11, false},
	} {
		if got := p.passed("a", step.well, step.lag, at(step.ms)); got != step.want {
			t.Errorf("at %d ms: %v", step.ms, got)
		}
	}
}

// A root that has not caught up gets no vote, however long it takes.
func TestNoVoteBeforeItHasCaughtUp(t *testing.T) {
	g := newTunedGroup(t, joining)
	leader := g.leader()
	if err := g.roots[leader].AddMember(within(t), Server{Name: "core/root-9", Raft: "127.0.0.1:1", Addr: "127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	g.eventually("many looks", func() bool {
		m, err := g.roots[leader].Members(within(t), false)
		if err != nil || len(m.Members) != 4 || m.Members[3].Suffrage != "nonvoter" {
			t.Fatalf("%+v, %v", m, err)
		}
		return m.Members[3].State == stateSilent && m.Members[0].Contact >= 0
	})
	// It has no vote, so the group goes on with two of three.
	g.islands[(leader+1)%3].setCut(true)
	if _, err := g.roots[leader].settle(within(t), "eu/r1", transport.LaneBulk, encoded(section("eu/r1", critical(agent, 1), term(1, 1), 1, 5))); err != nil {
		t.Fatal(err)
	}
	if err := g.roots[leader].RemoveMember(within(t), "core/root-9", false); err != nil {
		t.Fatal(err)
	}
}
