//go:build !zos

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"pando/transport"
	"pando/tree/journal"
	"pando/tree/status"
	"pando/tree/wire"
	"pando/wal"
)

// child is one session with an agent.
type child struct {
	id      uint64
	s       *transport.Session
	out     chan journal.Output // what the core says to it
	granted chan grant
	opened  bool
}

// grant gives credit back once the log is synced up to at.
type grant struct {
	lane transport.Lane
	cost transport.Credit
	at   wal.Seq
}

const (
	// childQueue bounds what the core may have said that a child did not
	// take: acknowledgements, mostly. A child behind it is hung up on, and
	// resumes with a new session.
	childQueue = 4096
	// grantQueue bounds the messages of a child between the connection and
	// the disk; credit bounds their bytes.
	grantQueue = 8192
	// maxSessions bounds the children of one relay.
	maxSessions = 16384
)

func (r *Relay) accept(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		s, err := r.listener.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, transport.ErrClosed) {
				return nil
			}
			return err
		}
		c := r.enroll(s)
		if c == nil {
			s.Close("this relay has all the children it may")
			continue
		}
		all.Go(func() { r.serve(ctx, c) })
	}
}

func (r *Relay) enroll(s *transport.Session) *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.sessions) >= maxSessions {
		return nil
	}
	r.next++
	c := &child{id: r.next, s: s, out: make(chan journal.Output, childQueue), granted: make(chan grant, grantQueue)}
	r.sessions[c.id] = c
	return c
}

func (r *Relay) closeSessions(reason string) {
	r.mu.Lock()
	r.closed = true
	list := make([]*child, 0, len(r.sessions))
	for _, c := range r.sessions {
		list = append(list, c)
	}
	r.mu.Unlock()
	for _, c := range list {
		c.s.Close(reason)
	}
}

// serve runs one session until it is over.
func (r *Relay) serve(ctx context.Context, c *child) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	parts.Go(func() { r.talk(ctx, c) })
	parts.Go(func() { r.grants(ctx, c) })
	for lane := range transport.Lane(transport.Lanes) {
		parts.Go(func() { r.batches(ctx, c, lane) })
	}
	r.sendDirectory(ctx, c)
	r.listenTo(ctx, c)
	c.s.Close("over")
	cancel()
	parts.Wait()
	r.mu.Lock()
	delete(r.sessions, c.id)
	r.mu.Unlock()
	if c.opened {
		r.append(recClose, encodeNumbers(c.id), true)
	}
}

// append writes a record that a session causes. A full disk ends sessions,
// not the relay: their agents keep what has no acknowledgement.
func (r *Relay) append(kind uint8, body []byte, urgent bool) (wal.Seq, bool) {
	for {
		at, err := r.journal.Append(kind, body, urgent)
		switch {
		case err == nil:
			return at, true
		case errors.Is(err, wal.ErrFull) && kind == recClose:
			time.Sleep(fullPause) // the core must hear of it
		default:
			r.log.Error("append to the log", "error", err)
			return 0, false
		}
	}
}

// fullPause is how long to wait before trying a full disk again.
const fullPause = 100 * time.Millisecond

// listenTo takes the child's control messages.
func (r *Relay) listenTo(ctx context.Context, c *child) {
	for {
		m, err := c.s.ReceiveControl(ctx)
		if err != nil {
			return
		}
		if err := r.control(c, m); err != nil {
			r.count.refused.WithLabelValues("protocol").Inc()
			r.log.Warn("child ends", "child", c.s.Peer().Node(), "address", c.s.RemoteAddr().String(), "error", err)
			c.s.Close(err.Error())
			return
		}
	}
}

func (r *Relay) control(c *child, m transport.Message) error {
	switch m.Kind {
	case wire.KindOpen:
		return r.open(c, m.Body)
	case wire.KindVouch:
		var v wire.Vouch
		if err := wire.Decode(m.Body, &v); err != nil {
			return err
		}
		if _, ok := r.append(recVouch, encodeNumbers(c.id, uint64(v.Lane), v.Seq), v.Lane == 0); !ok {
			return errLog
		}
	case wire.KindStatus:
		var doc wire.Status
		if err := wire.Decode(m.Body, &doc); err != nil {
			return err
		}
		var rep status.Report
		if err := json.Unmarshal(doc.JSON, &rep); err != nil {
			return fmt.Errorf("status: %w", err)
		}
		r.noteStatus(c, rep)
	}
	return nil
}

var errLog = errors.New("this relay's log takes nothing")

func (r *Relay) open(c *child, body []byte) error {
	if c.opened {
		return errors.New("units opened twice in one session")
	}
	o := opening{Session: c.id, Origin: c.s.Peer().Node()}
	if err := wire.Decode(body, &o.Open); err != nil {
		return err
	}
	if o.Open.WAL == 0 {
		return errors.New("open without a WAL id")
	}
	stamp, err := r.clock.Stamp()
	if err != nil {
		return err
	}
	o.HLC = uint64(stamp)
	c.opened = true
	if _, ok := r.append(recOpen, o.encode(), true); !ok {
		return errLog
	}
	return nil
}

// batches takes one lane's batches into the log.
func (r *Relay) batches(ctx context.Context, c *child, lane transport.Lane) {
	for {
		m, err := c.s.Receive(ctx, lane)
		if err != nil {
			return
		}
		if m.Kind != wire.KindBatch {
			c.s.Close(fmt.Sprintf("message kind %d on the %s lane", m.Kind, lane))
			return
		}
		// Checked before it is logged: a record that cannot be read back
		// would be damage.
		var b wire.Batch
		if err := wire.Decode(m.Body, &b); err != nil {
			r.count.refused.WithLabelValues("malformed").Inc()
			r.log.Warn("malformed batch", "child", c.s.Peer().Node(), "error", err)
			c.s.Close(err.Error())
			return
		}
		at, ok := r.append(recBatch, encodeArrival(c.id, uint8(lane), r.clock.Now(), m.Body), lane == transport.LaneCritical)
		if !ok {
			c.s.Close("this relay's log takes nothing")
			return
		}
		select {
		case c.granted <- grant{lane, m.Cost(), at}:
		case <-ctx.Done():
			return
		}
	}
}

// grants gives credit back for what the disk holds: the window moves no faster
// than the disk.
func (r *Relay) grants(ctx context.Context, c *child) {
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-c.granted:
			if r.journal.Log().Wait(ctx, g.at) != nil {
				return
			}
			c.s.Grant(g.lane, g.cost)
		}
	}
}

// talk passes on what the core says to the child.
func (r *Relay) talk(ctx context.Context, c *child) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-c.out:
			if o.Kind == outHangUp {
				r.count.refused.WithLabelValues("core").Inc()
				r.log.Warn("child refused", "child", c.s.Peer().Node(), "reason", string(o.Body))
				c.s.Close(string(o.Body))
				return
			}
			if c.s.SendControl(ctx, transport.Message{Kind: o.Kind, Body: o.Body}) != nil {
				return
			}
		}
	}
}

// deliver takes what the core says, once it is on disk.
func (r *Relay) deliver(outs []journal.Output) {
	for _, o := range outs {
		if o.To == toRoot {
			r.upstream.put(o)
			continue
		}
		var id uint64
		if _, err := fmt.Sscanf(o.To, "session/%d", &id); err != nil {
			r.log.Error("output to nobody", "to", o.To)
			continue
		}
		r.mu.Lock()
		c := r.sessions[id]
		r.mu.Unlock()
		if c == nil {
			continue
		}
		select {
		case c.out <- o:
		default:
			go c.s.Close("child does not take its acknowledgements")
		}
	}
}
