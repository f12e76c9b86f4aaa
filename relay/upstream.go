//go:build !zos

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pando/event"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// upstream carries what the core says to the root, and the answers back into
// the log. What relays below have to say joins it here (see passing.go) and
// leaves nothing behind.
type upstream struct {
	r *Relay

	mu       sync.Mutex
	out      Outgoing
	below    below
	life     uint64                     // counts the times that there was a root
	path     []string                   // nodes above, nearest first; a root at the end while there is one
	patterns *transport.Message         // as the parent said them last; nil: it has not
	pool     uint64                     // bytes a second of bulk, as granted; 0: nobody has said
	own      uint64                     // of these, what the core was told
	wake     [event.Lanes]chan struct{} // capacity 1

	word sync.Mutex // before mu: of whoever tells the core of the root and its grant
	said bool       // there is one, as the core was told last; the word's
	owes bool       // the core was not told of own: the log was short of room

	// Of the goroutine that uses the sessions.
	flaps   time.Duration // how long a root has to wait that comes back to a full log
	flapped time.Time     // when the last one came back to one
}

func newUpstream(r *Relay) *upstream {
	u := &upstream{r: r, wake: newRoom(), below: newBelow(r.count.passed)}
	u.out.below = &u.below
	return u
}

// put takes one output of the core.
func (u *upstream) put(o journal.Output) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.out.Put(o)
	u.nudge()
}

func (u *upstream) nudge() {
	for _, wake := range u.wake {
		nudge(wake)
	}
}

// serve uses one session with a parent. A root is what it is; a relay says
// whether it has one, and says so again when that changes.
func (u *upstream) serve(ctx context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parent := s.Peer()
	above := &wire.Uplink{Life: 1}
	var err error
	if parent.Role == transport.RoleRelay {
		above.Life = 0
		err = s.SendControl(ctx, wire.Encode(&wire.Uplink{}))
	}
	u.restrain(ctx, s.Done())
	err = errors.Join(err, u.stand(parent.Node(), above))
	if said := u.r.up.Patterns(); said != nil && err == nil {
		err = u.heardPatterns(*said)
	}
	if err != nil {
		s.Close(err.Error())
	}
	var senders sync.WaitGroup
	for lane := range event.Lane(event.Lanes) {
		senders.Go(func() {
			defer cancel()
			u.send(ctx, s, lane)
		})
	}
	for err == nil {
		var m transport.Message
		if m, err = s.ReceiveControl(ctx); err != nil {
			break
		}
		if m.Kind == wire.KindUplink && parent.Role == transport.RoleRelay {
			above, err = u.hear(ctx, s, above, m.Body)
		} else {
			err = u.answer(m)
		}
		if err != nil {
			u.r.log.Warn("session with the parent ends", "parent", parent.Node(), "error", err)
			s.Close(err.Error())
		}
	}
	cancel()
	senders.Wait()
	if err := u.stand("", nil); err != nil {
		u.r.log.Error("append to the log", "error", err)
	}
}

// hear takes a parent's word on how it is connected upwards.
func (u *upstream) hear(ctx context.Context, s *transport.Session, last *wire.Uplink, body []byte) (*wire.Uplink, error) {
	parent := s.Peer().Node()
	m := &wire.Uplink{}
	if err := wire.Decode(body, m); err != nil {
		return last, err
	}
	if m.Life == last.Life && slices.Equal(m.Path, last.Path) {
		return last, nil
	}
	if slices.Contains(m.Path, u.r.name) {
		u.r.count.refused.WithLabelValues("loop").Inc()
		return last, fmt.Errorf("%w: this relay is above %s", errLoop, parent)
	}
	if len(m.Path) >= wire.MaxPath {
		u.r.count.refused.WithLabelValues("loop").Inc()
		return last, fmt.Errorf("%w: %d nodes are above %s", errLoop, len(m.Path), parent)
	}
	if m.Life != 0 {
		u.restrain(ctx, s.Done())
	}
	return m, u.stand(parent, m)
}

// stand takes note of how this relay is connected upwards, and tells the core
// and the relays below. Whatever had no answer is forgotten: who said it says
// it again. Without a parent, above is nil. That the root went is said later
// if the log is short of room: the next one that comes says as much.
func (u *upstream) stand(parent string, above *wire.Uplink) error {
	u.word.Lock()
	defer u.word.Unlock()
	u.mu.Lock()
	u.below.reset()
	u.out.Close()
	u.path, u.pool, u.own, u.owes = nil, 0, 0, false
	if above != nil {
		u.path = append([]string{parent}, above.Path...)
	}
	up := above != nil && above.Life != 0
	if up {
		u.out.Open()
		u.life++
	}
	u.tellBelow()
	u.mu.Unlock()
	u.r.up.SetRooted(up)
	switch {
	case up:
		return u.sayLocked(true, journal.Vital)
	case !u.said:
		return nil
	}
	err := u.sayLocked(false, journal.Upkeep)
	if errors.Is(err, wal.ErrFull) {
		return nil
	}
	return err
}

// send sends what waits, whenever it may: bulk sections over the bulk
// connection, where they stand in front of nothing, and all else over the
// control channel, where findings, claims and critical sections keep the order
// in which they become due.
func (u *upstream) send(ctx context.Context, s *transport.Session, lane event.Lane) {
	for {
		for _, m := range u.due(lane) {
			var err error
			if lane == event.Bulk {
				err = s.Send(ctx, transport.LaneBulk, m)
			} else {
				err = s.SendControl(ctx, m)
			}
			if err != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-u.wake[lane]:
		}
	}
}

func (u *upstream) due(lane event.Lane) []transport.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	if lane == event.Critical {
		return u.out.Due()
	}
	if m, ok := u.out.DueBulk(); ok {
		return []transport.Message{m}
	}
	return nil
}

// answer takes one message of the parent.
func (u *upstream) answer(m transport.Message) error {
	switch m.Kind {
	case wire.KindDirectory:
		var d wire.Directory
		if err := wire.Decode(m.Body, &d); err != nil {
			return err
		}
		u.r.up.SetDirectory(d.Nodes)
		return nil
	case wire.KindGrant:
		return u.granted(m.Body)
	case wire.KindPatterns:
		return u.heardPatterns(m)
	case wire.KindClaimAnswer, wire.KindDigestAnswer, wire.KindDone:
		answer, id, err := wire.Answer(m.Kind, m.Body)
		if err != nil {
			return err
		}
		if *id >= passedIDs {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.nudge()
			return u.below.passDown(m.Kind, answer, id)
		}
	}
	u.mu.Lock()
	rec, due, err := u.out.Answer(m)
	u.mu.Unlock()
	u.nudge()
	if err != nil || !due {
		return err
	}
	return u.record(rec.Kind, rec.Body)
}

func (u *upstream) record(kind uint8, body []byte) error {
	if _, ok := u.r.append(kind, body, true); !ok {
		return errLog
	}
	return nil
}

// sendStatus tells the root how this relay and its agents are, and what relays
// below said of themselves meanwhile.
func (u *upstream) sendStatus() {
	u.mu.Lock()
	live := u.out.live
	u.mu.Unlock()
	if !live {
		return
	}
	doc, err := json.Marshal(u.r.Report())
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil && len(doc) <= wire.MaxStatus {
		u.out.request(wire.Encode(&wire.Status{JSON: doc}))
	}
	for _, m := range u.below.words.fresh() {
		u.out.request(m)
	}
	u.nudge()
}

// statusEvery is the pause between statuses.
const statusEvery = time.Second
