//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"pando/root/consensus"
)

// changeLimit bounds one change of the group, the commit included.
const changeLimit = 10 * time.Second

var (
	// ErrNoMember reports a root that is no member of the group.
	ErrNoMember = errors.New("no such member")
	// ErrMember reports a change that does not fit a root that is a member.
	ErrMember = errors.New("it is a member already")
	// ErrQuorum reports a change after which the group could commit nothing.
	ErrQuorum = errors.New("the group would lose its quorum")
	// ErrInput reports a change that makes no sense, by whoever asked for it.
	ErrInput = errors.New("cannot be done")
)

// Members is the group as the leader knows it, or, by a stale read, as another
// root does.
type Members struct {
	Leader   string   `json:"leader"`
	Term     uint64   `json:"term"`
	Commit   uint64   `json:"commit_index"`
	Index    uint64   `json:"configuration_index"` // of the entry that made the group what it is
	Logic    uint64   `json:"logic"`               // version in force
	Restores uint64   `json:"restores"`            // how often the state was put back to a snapshot
	Members  []Member `json:"members"`             // by name
}

// Member is one root of the group.
type Member struct {
	Name     string  `json:"name"`
	Raft     string  `json:"raft"`
	Addr     string  `json:"addr,omitempty"` // empty: it has not said where it is
	API      string  `json:"api,omitempty"`
	Suffrage string  `json:"suffrage"`        // voter, nonvoter
	State    string  `json:"state"`           // leader, follower; silent: not heard of lately; unknown: only the leader can tell
	Contact  float64 `json:"last_contact_ms"` // since it heard the leader; -1: never, or unknown
	Applied  uint64  `json:"applied_index"`   // 0: unknown
	Lag      int64   `json:"lag"`             // committed entries that it has not applied; -1: unknown
	Logic    uint64  `json:"logic"`           // newest version that its program knows; 0: unknown
}

// Members returns the group. The read is linearizable, and only the leader
// serves it, unless stale is set.
func (r *Root) Members(ctx context.Context, stale bool) (Members, error) {
	if !stale {
		ctx, cancel := context.WithTimeout(ctx, readLimit)
		defer cancel()
		if err := r.node.Linearizable(ctx); err != nil {
			return Members{}, fmt.Errorf("members: %w", err)
		}
	}
	st, g, v := r.node.Stats(), r.node.Group(), r.fsm.view()
	out := Members{Leader: r.Leader(), Term: st.Term, Commit: st.CommitIndex, Index: g.Index, Logic: v.logic, Restores: v.restores, Members: []Member{}}
	for _, m := range g.Members {
		out.Members = append(out.Members, r.member(m, out.Leader, st.CommitIndex))
	}
	return out, nil
}

// member describes one member.
func (r *Root) member(m consensus.Member, leader string, commit uint64) Member {
	out := Member{Name: m.ID, Raft: m.Addr, Suffrage: "voter", State: stateUnknown, Contact: -1, Lag: -1}
	if !m.Voter {
		out.Suffrage = "nonvoter"
	}
	if s, ok := r.server(m.ID); ok {
		out.Raft, out.Addr, out.API = s.Raft, s.Addr, s.API
	}
	p, ok := r.pulseOf(m.ID)
	if ok {
		out.Applied, out.Logic = p.applied, p.logic
		out.Lag = int64(commit - min(p.applied, commit))
		if p.contact >= 0 {
			out.Contact = float64((p.contact + time.Since(p.at)).Microseconds()) / 1e3
		}
	}
	switch {
	case m.ID == leader:
		out.State = "leader"
	case ok && p.fresh():
		out.State = "follower"
	case r.Leading():
		out.State = stateSilent
	}
	return out
}

// change lets one change of the group at a time happen, at the leader.
func (r *Root) change(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	select {
	case r.changing <- struct{}{}:
		defer func() { <-r.changing }()
	case <-ctx.Done():
		return fmt.Errorf("%s: another change of the group is under way: %w", what, ctx.Err())
	}
	if err := f(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// AddMember takes a root into the group, without a vote: it gets that by
// itself once it has caught up. Only the leader does it. A repetition is
// harmless.
func (r *Root) AddMember(ctx context.Context, s Server) error {
	return r.change(ctx, "add "+s.Name, func(ctx context.Context) error {
		if err := checkServer(s); err != nil {
			return err
		}
		g := r.node.Group()
		for _, m := range g.Members {
			old, ok := r.server(m.ID)
			if !ok {
				old = Server{Name: m.ID, Raft: m.Addr}
			}
			switch {
			case m.ID == s.Name && old.Raft != s.Raft:
				return fmt.Errorf("at %s: %w; to move it, change its own configuration and restart it; to exchange it, remove it first", old.Raft, ErrMember)
			case m.ID != s.Name && (old.Raft == s.Raft || old.Addr == s.Addr):
				return fmt.Errorf("%w: %s has the address %s", ErrInput, m.ID, old.Raft)
			}
		}
		if _, member := g.Find(s.Name); !member {
			if len(g.Members) >= maxMembers {
				return fmt.Errorf("%w: a group has at most %d members", ErrInput, maxMembers)
			}
			if err := r.node.AddNonvoter(ctx, consensus.Server{ID: s.Name, Addr: s.Raft}); err != nil {
				return err
			}
			r.log.Info("a root was added to the group, without a vote for now", "root", s.Name, "raft", s.Raft)
		}
		_, _, err := r.node.Propose(ctx, serverCommand(r.time.Now(), s))
		return err
	})
}

// checkServer judges what is to become a member.
func checkServer(s Server) error {
	region, name := splitNode(s.Name)
	if region == "" || name == "" || strings.Contains(name, "/") || len(s.Name) > maxName {
		return fmt.Errorf("%w: name %q: give REGION/NAME, as in its certificate", ErrInput, s.Name)
	}
	for what, addr := range map[string]string{"raft": s.Raft, "addr": s.Addr, "api": strings.TrimPrefix(s.API, "https://")} {
		if addr == "" && what == "api" {
			continue
		}
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" || len(addr) > maxName {
			return fmt.Errorf("%w: %s %q: give host:port, as the other roots reach it", ErrInput, what, addr)
		}
	}
	return nil
}

// RemoveMember takes a root out of the group, another than this one, which
// must lead. It refuses, by ErrQuorum, if fewer voters than a majority of the
// rest are heard of, unless force is set.
func (r *Root) RemoveMember(ctx context.Context, name string, force bool) error {
	return r.change(ctx, "remove "+name, func(ctx context.Context) error {
		g := r.node.Group()
		m, ok := g.Find(name)
		if !ok {
			return fmt.Errorf("%w: members are %s", ErrNoMember, memberNames(g))
		}
		if name == r.name {
			return fmt.Errorf("%w: it leads; hand leadership over first", ErrInput)
		}
		well := func(id string) bool {
			p, ok := r.pulseOf(id)
			return ok && p.fresh()
		}
		// A new leader has not heard of everybody yet.
		patience := time.Now().Add(2 * freshFor)
		for left, need := remaining(g, name, well); m.Voter && left < need && !force; left, need = remaining(g, name, well) {
			if time.Now().After(patience) || !pause(ctx, pulseEvery) {
				return fmt.Errorf("%w: %d of the other voters are well, %d are needed", ErrQuorum, left, need)
			}
		}
		if err := r.node.Remove(ctx, g, name); err != nil {
			return err
		}
		r.log.Warn("a root was removed from the group", "root", name, "forced", force)
		// Should this be lost, the steward strikes it.
		r.propose(ctx, "address book", forgetCommand(r.time.Now(), name))
		return nil
	})
}

// remaining counts the voters that are well once a member has gone, and how
// many of them are a majority then.
func remaining(g consensus.Group, without string, well func(id string) bool) (left, need int) {
	voters := 0
	for _, m := range g.Members {
		if !m.Voter || m.ID == without {
			continue
		}
		voters++
		if well(m.ID) {
			left++
		}
	}
	return left, voters/2 + 1
}

func memberNames(g consensus.Group) string {
	var names []string
	for _, m := range g.Members {
		names = append(names, m.ID)
	}
	return strings.Join(names, ", ")
}

// TransferLeadership makes another root lead: the one named, or the one that
// is most up to date. It returns who leads then, or nothing if that is not
// known yet.
func (r *Root) TransferLeadership(ctx context.Context, to string) (leader string, err error) {
	err = r.change(ctx, "transfer leadership", func(ctx context.Context) error {
		g := r.node.Group()
		m, ok := g.Find(to)
		switch {
		case to != "" && !ok:
			return fmt.Errorf("%s: %w: members are %s", to, ErrNoMember, memberNames(g))
		case to == r.name:
			return fmt.Errorf("%w: %s leads already", ErrInput, to)
		case to != "" && !m.Voter:
			return fmt.Errorf("%w: %s has no vote yet", ErrInput, to)
		case g.Voters() < 2:
			return fmt.Errorf("%w: there is no other voter", ErrInput)
		}
		if err := r.node.Transfer(ctx, to); err != nil {
			return err
		}
		for leader == "" || leader == r.name {
			if !pause(ctx, linkPause) {
				leader = ""
				return nil // it was handed over; the election goes on
			}
			leader = r.Leader()
		}
		return nil
	})
	return leader, err
}
