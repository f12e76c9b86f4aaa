//go:build !zos

package root

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

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
	s.mark = mark{number: s.count + 1, index: s.index, hash: s.sum(), members: members}
	if f.hooks.Marked != nil {
		f.hooks.Marked(&s.mark)
	}
}

// takeVote counts a vote on the present mark; a late one, or one on no mark,
// is dropped.
func (f *FSM) takeVote(v vote) error {
	m := &f.state.mark
	at, voted := slices.BinarySearchFunc(m.votes, v.member, func(v vote, name string) int { return strings.Compare(v.member, name) })
	if m.number == 0 || v.number != m.number || voted || len(m.votes) >= maxMembers {
		return nil
	}
	m.votes = slices.Insert(slices.Clone(m.votes), at, v)
	if f.hooks.Voted != nil {
		f.hooks.Voted(v.member, v.number, v.hash == m.hash)
	}
	return m.judge()
}

// judge compares this member's hash with the votes.
func (m *mark) judge() error {
	most := 0
	for _, v := range m.votes {
		n := 0
		for _, w := range m.votes {
			if w.hash == v.hash {
				n++
			}
		}
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

// sum hashes the results so far and the state. Incidents and the graph are
// covered by the results that name every change of them; the rest is hashed
// bucket by bucket, of which only those that changed cost anything.
func (s *state) sum() event.Hash {
	w := pack.NewWriter()
	w.Bin(s.output[:])
	w.Uint(s.count)
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
