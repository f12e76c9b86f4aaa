//go:build !zos

package root

import (
	"context"
	"time"

	"pando/root/consensus"
)

// stewardEvery is how often the leader looks after the group.
const stewardEvery = 200 * time.Millisecond

// steward is the leader's part of keeping the group in order.
func (r *Root) steward(ctx context.Context) {
	p := probation{lag: r.opts.PromoteLag, hold: r.opts.PromoteAfter}
	for {
		g := r.node.Group()
		r.keepBook(ctx, g)
		r.promote(ctx, g, &p)
		r.raiseLogic(ctx, g)
		if !pause(ctx, stewardEvery) {
			return
		}
	}
}

// keepBook enters where the members say they are, and strikes those who are
// members no more.
func (r *Root) keepBook(ctx context.Context, g consensus.Group) {
	book := r.book()
	for _, m := range g.Members {
		s, known := r.whereabouts(m)
		if old, entered := find(book, m.ID); known && (!entered || old != s) {
			r.propose(ctx, "address book", serverCommand(r.time.Now(), s))
		}
	}
	for _, s := range book {
		if _, member := g.Find(s.Name); !member {
			r.propose(ctx, "address book", forgetCommand(r.time.Now(), s.Name))
		}
	}
}

// whereabouts is where a member says it is; or where the book has it; or,
// until it stands there, where this root's configuration has it.
func (r *Root) whereabouts(m consensus.Member) (Server, bool) {
	if p, ok := r.pulseOf(m.ID); ok && p.server.Addr != "" {
		return p.server, true
	}
	if s, ok := find(r.book(), m.ID); ok {
		return s, true
	}
	return find(r.Configured(), m.ID)
}

// promote gives their vote to members that have caught up.
func (r *Root) promote(ctx context.Context, g consensus.Group, p *probation) {
	commit := r.node.Stats().CommitIndex
	for _, m := range g.Members {
		if m.Voter {
			continue
		}
		pulse, ok := r.pulseOf(m.ID)
		well := ok && pulse.fresh() && pulse.logic >= r.fsm.view().logic
		if !p.passed(m.ID, well, commit-min(pulse.applied, commit), time.Now()) {
			continue
		}
		if err := r.node.Promote(ctx, g, m.Server); err != nil {
			r.log.Warn("a root that has caught up was not given its vote", "root", m.ID, "error", err)
			return
		}
		r.log.Info("a root has caught up and got its vote", "root", m.ID)
		return // the group is another one now
	}
}

// probation decides when a new member has caught up for good. It is a pure
// state machine: the caller passes the time.
type probation struct {
	lag   uint64        // most entries behind
	hold  time.Duration // for so long without a break
	since map[string]time.Time
}

// passed notes how a member is and reports whether it has been well for long
// enough.
func (p *probation) passed(name string, well bool, lag uint64, now time.Time) bool {
	if !well || lag > p.lag {
		delete(p.since, name)
		return false
	}
	if p.since == nil {
		p.since = map[string]time.Time{}
	}
	since, known := p.since[name]
	if !known {
		p.since[name] = now
		return false
	}
	return now.Sub(since) >= p.hold
}

// raiseLogic puts the newest logic that all members know in force. A member
// that is silent may know less, so it is waited for.
func (r *Root) raiseLogic(ctx context.Context, g consensus.Group) {
	common := r.fsm.logics.newest()
	for _, m := range g.Members {
		p, ok := r.pulseOf(m.ID)
		if !ok || !p.fresh() {
			return
		}
		common = min(common, p.logic)
	}
	if in := r.fsm.view().logic; common > in {
		r.log.Info("all roots know a higher logic: it comes into force", "from", in, "to", common)
		r.propose(ctx, "logic", logicCommand(r.time.Now(), common))
	}
}

// propose submits a command that is proposed again if it is still wanted.
func (r *Root) propose(ctx context.Context, what string, cmd []byte) {
	if _, _, err := r.node.Propose(ctx, cmd); err != nil && ctx.Err() == nil {
		r.log.Debug("not committed", "what", what, "error", err)
	}
}
