//go:build !zos

package root

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
)

// Members compare their states while they run. The leader sets a mark: at that
// command every member hashes its state and all results so far. Then every
// member proposes its hash as a vote. When a majority has voted for one hash,
// a member with another one stops; when none can get a majority any more, all
// stop. Votes are entries of the log, so a replay compares with them again,
// and a restarted member that went wrong stops again, while a wrong leader
// cannot stop the others.
//
// While votes differ and none has a majority, because the member that would
// decide is down, the mark stays, so that it can decide when it comes; and those
// that are up stop after a while (see [Root.settleDispute]), which is not in the
// log: they may start again, together with the one that decides, and serve nobody
// before it has.

// mark is the newest mark.
type mark struct {
	number  uint64 // commands applied up to the mark; 0: there is none
	index   uint64 // of its entry
	hash    event.Hash
	members int
	votes   []vote // by member
}

// vote is one member's hash at a mark.
type vote struct {
	member string
	number uint64
	hash   event.Hash
}

func readVote(r *pack.Reader) (vote, error) {
	v := vote{member: r.String("member", maxName), number: r.Uint("mark", 1<<64-1)}
	readHash(r, &v.hash)
	return v, r.Err()
}

func readHash(r *pack.Reader, h *event.Hash) {
	b := r.Bin("hash", len(h))
	if r.Err() == nil && len(b) != len(h) {
		r.Fail("hash", fmt.Errorf("%d bytes, want %d", len(b), len(h)))
	}
	copy(h[:], b)
}

func (f *FSM) takeMark(members int) {
	s := f.state
	if s.mark.disputed() {
		return
	}
	s.mark = mark{number: s.count + 1, index: s.index, hash: s.sum(), members: members}
	if f.hooks.Marked != nil {
		f.hooks.Marked(&s.mark)
	}
}

// takeVote counts a vote on the present mark; a late one, or one on no mark,
// is dropped. The newest vote of a member counts: it may have been restored from
// another's folder.
func (f *FSM) takeVote(v vote) error {
	m := &f.state.mark
	at, voted := slices.BinarySearchFunc(m.votes, v.member, func(v vote, name string) int { return strings.Compare(v.member, name) })
	switch {
	case m.number == 0 || v.number != m.number || !voted && len(m.votes) >= maxMembers:
		return nil
	case voted:
		m.votes = slices.Clone(m.votes)
		m.votes[at] = v
	default:
		m.votes = slices.Insert(slices.Clone(m.votes), at, v)
	}
	if f.hooks.Voted != nil {
		f.hooks.Voted(v.member, v.number, v.hash == m.hash)
	}
	return m.judge()
}

// judge compares this member's hash with the votes.
func (m *mark) judge() error {
	most := 0
	for _, v := range m.votes {
		n := m.count(v.hash)
		most = max(most, n)
		if n > m.members/2 && v.hash != m.hash {
			return fmt.Errorf("at entry %d this member's state is %x, the majority's %x: take this member's folder away and restore it from another member's: %w",
				m.index, m.hash[:8], v.hash[:8], ErrDiverged)
		}
	}
	if most+m.members-len(m.votes) <= m.members/2 {
		return fmt.Errorf("at entry %d no state has a majority among %d members: compare them by pando replay: %w", m.index, m.members, ErrDiverged)
	}
	return nil
}

// count is how many members voted for a hash.
func (m *mark) count(hash event.Hash) (n int) {
	for _, v := range m.votes {
		if v.hash == hash {
			n++
		}
	}
	return n
}

// disputed reports whether votes differ and none has a majority.
func (m *mark) disputed() bool {
	differ := false
	for _, v := range m.votes {
		if m.count(v.hash) > m.members/2 {
			return false
		}
		differ = differ || v.hash != m.votes[0].hash
	}
	return differ
}

// dispute returns the mark if it is disputed.
func (f *FSM) dispute() (m mark, disputed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.mark, f.state.mark.disputed()
}

const (
	// disputeEvery is how often a root looks for a dispute, and disputeLimit how
	// long it serves in one: members that are up vote within a second.
	disputeEvery = 250 * time.Millisecond
	disputeLimit = 10 * time.Second
)

// barred reports whether members differ since before this root started.
func (r *Root) barred() bool {
	m, disputed := r.fsm.dispute()
	return disputed && !r.watch.isNews(m.index)
}

// settleDispute votes on a disputed mark if this root has not, as one that was
// down, or has another state since; and ends it if no majority is found. A root
// that starts in a dispute serves nobody until it is settled.
func (r *Root) settleDispute(ctx context.Context) {
	began, number, limit := time.Now(), uint64(0), cmp.Or(r.opts.disputeLimit, disputeLimit)
	for pause(ctx, disputeEvery) {
		m, disputed := r.fsm.dispute()
		if !disputed {
			number = 0
			continue
		}
		if number != m.number {
			began, number = time.Now(), m.number
			r.log.Error("members have different states, and no majority says which is right", "entry", m.index, "votes", len(m.votes), "members", m.members)
		}
		if r.votes() && !slices.ContainsFunc(m.votes, func(v vote) bool { return v.member == r.name && v.hash == m.hash }) {
			r.watch.ask(&m)
		}
		if time.Since(began) >= limit {
			err := fmt.Errorf("at entry %d members have different states and %d of %d have voted, so none has a majority: start the others, or compare by pando replay and restore one member's folder from another's: %w",
				m.index, len(m.votes), m.members, ErrDiverged)
			select {
			case r.removed <- err:
			case <-ctx.Done():
			}
			return
		}
	}
}

// sum hashes the results so far and the state: bucket by bucket and incident by
// incident, of which only those that changed cost anything. The changes that can
// be read back are left out, since results are made of them.
func (s *state) sum() event.Hash {
	w := pack.NewWriter()
	w.Bin(s.output[:])
	w.Int(s.now)
	w.Uint(s.index)
	w.Uint(s.count)
	w.Int(s.expired)
	w.Uint(s.changed)
	w.Uint(s.settled)
	w.Uint(s.logic)
	s.appendGroup(w)
	for _, n := range s.counts.list() {
		w.Uint(*n)
	}
	add := func(sum [32]byte) { w.Bin(sum[:]) }
	add(s.units.Sum(bucketSum(func(w *pack.Writer, id event.Unit, u *unit) { appendUnit(w, id, u) }), sha256.Sum256))
	add(s.origins.Sum(bucketSum(appendOrigin), sha256.Sum256))
	add(s.series.Sum(bucketSum(func(w *pack.Writer, id stream.Series, t *total) { appendTotal(w, id, t) }), sha256.Sum256))
	add(s.nodes.Sum(bucketSum(func(w *pack.Writer, _ string, m *member) { appendMember(w, m) }), sha256.Sum256))
	add(s.commits.Sum(bucketSum(appendCommit), sha256.Sum256))
	add(s.graph.Sum())
	add(s.set.Sum())
	if s.logic >= patternLogic {
		add(s.patterns.sum())
	}
	for _, id := range s.committed { // in their order, by which they are forgotten
		w.Bin(id[:])
	}
	return sha256.Sum256(w.Bytes())
}

// bucketSum makes the function that hashes one bucket of a map.
func bucketSum[K comparable, V any](write func(*pack.Writer, K, V)) func(func(func(K, V))) [32]byte {
	return func(each func(func(K, V))) [32]byte {
		w := pack.NewWriter()
		each(func(k K, v V) { write(w, k, v) })
		return sha256.Sum256(w.Bytes())
	}
}
