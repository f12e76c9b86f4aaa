//go:build !zos

package relay

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

// upstream carries what the core says to the root, and the answers back into
// the log.
type upstream struct {
	r *Relay

	mu   sync.Mutex
	out  Outgoing
	wake chan struct{} // capacity 1
}

func newUpstream(r *Relay) *upstream { return &upstream{r: r, wake: make(chan struct{}, 1)} }

// put takes one output of the core.
func (u *upstream) put(o journal.Output) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.out.Put(o)
	u.nudge()
}

func (u *upstream) nudge() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// serve uses one session with a root.
func (u *upstream) serve(ctx context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u.mu.Lock()
	u.out.Open()
	u.mu.Unlock()
	if _, err := u.r.journal.Append(recUplink, encodeNumbers(1), true); err != nil {
		u.r.log.Error("append to the log", "error", err)
		s.Close("this relay's log takes nothing")
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		defer cancel()
		u.send(ctx, s)
	})
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			break
		}
		if err := u.answer(m); err != nil {
			u.r.log.Warn("session with the root ends", "root", s.Peer().Node(), "error", err)
			s.Close(err.Error())
			break
		}
	}
	cancel()
	sender.Wait()
	u.mu.Lock()
	u.out.Close()
	u.mu.Unlock()
	if _, err := u.r.journal.Append(recUplink, encodeNumbers(0), true); err != nil {
		u.r.log.Error("append to the log", "error", err)
	}
}

// send sends what waits, whenever it may.
func (u *upstream) send(ctx context.Context, s *transport.Session) {
	for {
		for _, m := range u.due() {
			if s.SendControl(ctx, m) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-u.wake:
		}
	}
}

func (u *upstream) due() []transport.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.out.Due()
}

// answer takes one message of the root.
func (u *upstream) answer(m transport.Message) error {
	if m.Kind == wire.KindDirectory {
		var d wire.Directory
		if err := wire.Decode(m.Body, &d); err != nil {
			return err
		}
		u.r.up.SetDirectory(d.Nodes)
		return nil
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

// sendStatus tells the root how this relay and its children are.
func (u *upstream) sendStatus() {
	u.mu.Lock()
	live := u.out.live
	u.mu.Unlock()
	if !live {
		return
	}
	doc, err := json.Marshal(u.r.Report())
	if err != nil || len(doc) > wire.MaxStatus {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.out.request(wire.Encode(&wire.Status{JSON: doc}))
	u.nudge()
}

// statusEvery is the pause between statuses.
const statusEvery = time.Second
