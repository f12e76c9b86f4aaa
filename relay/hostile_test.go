//go:build !zos

package relay

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/event/clock"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
	"pando/wal"
)

// caller is an agent's side of one session, spoken by hand.
type caller struct {
	t     testing.TB
	s     *transport.Session
	wal   event.WALID
	term  custody.Term
	next  uint64
	chain event.Hash

	mu      sync.Mutex
	durable uint64
	opened  bool
	refused *wire.Refused
}

func (r *region) call(creds *transport.Credentials, id event.WALID, term custody.Term) *caller {
	r.t.Helper()
	o := transport.DefaultOptions()
	o.Credentials, o.Network = creds, r.net.Host(creds.Identity().Name)
	s, err := transport.Dial(r.t.Context(), "r1:7000", transport.Hello{Term: term}, o)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &caller{t: r.t, s: s, wal: id, term: term, next: 1}
	go c.listen()
	c.say(&wire.Open{WAL: id, Term: term, Offers: [event.Lanes]custody.Offer{{From: 1}, {From: 1}}})
	r.until("the units are open, or refused", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.opened || c.refused != nil
	})
	return c
}

func (c *caller) listen() {
	for {
		m, err := c.s.ReceiveControl(context.Background())
		if err != nil {
			return
		}
		c.mu.Lock()
		switch m.Kind {
		case wire.KindAck:
			var a wire.Ack
			if wire.Decode(m.Body, &a) == nil && a.Lane == event.Bulk {
				c.durable = a.Durable
			}
		case wire.KindOpened:
			c.opened = true
		case wire.KindRefused:
			c.refused = &wire.Refused{}
			_ = wire.Decode(m.Body, c.refused)
		}
		c.mu.Unlock()
	}
}

func (c *caller) say(m wire.Message) { _ = c.s.SendControl(context.Background(), wire.Encode(m)) }

// batch is the next batch of the bulk lane, as change makes it.
func (c *caller) batch(origin string, n int, change func(*event.Batch)) *wire.Batch {
	b := event.Batch{Unit: event.Unit{Origin: origin, WAL: c.wal, Lane: event.Bulk}, First: c.next, Boot: clock.Boot{1}}
	for i := range n {
		b.Events = append(b.Events, event.Event{Seq: b.First + uint64(i), Entity: "app", Signal: "line", Criticality: 2, Raw: make([]byte, 100)})
	}
	change(&b)
	body, err := b.Encode(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	m := &wire.Batch{Before: c.chain, DurableTo: b.Last(), Bytes: body}
	c.next, c.chain = b.Last()+1, event.Chain(c.chain, body)
	return m
}

func (c *caller) send(m *wire.Batch) {
	_ = c.s.Send(context.Background(), transport.LaneBulk, wire.Encode(m))
}

func (c *caller) acknowledged() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.durable
}

// A child that breaks the protocol, one way or another, is refused, named in
// the log and counted; another child's batches are acknowledged all the time.
func TestHostileChildDisturbsNobody(t *testing.T) {
	none := func(*event.Batch) {}
	for name, c := range map[string]struct {
		attack func(r *region, mine *transport.Credentials) *caller
		says   string // in the log
	}{
		"a gap in its sequence": {func(r *region, mine *transport.Credentials) *caller {
			c := r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
			c.next = 7
			c.send(c.batch("eu/evil", 3, none))
			return c
		}, "protocol violation"},
		"another's unit": {func(r *region, mine *transport.Credentials) *caller {
			c := r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
			c.send(c.batch("eu/good", 3, none))
			return c
		}, "in a session of eu/evil"},
		"bytes that are no batch": {func(r *region, mine *transport.Credentials) *caller {
			c := r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
			m := c.batch("eu/evil", 3, none)
			m.Bytes = bytes.Repeat([]byte{0xc1}, 64)
			c.send(m)
			return c
		}, "invalid"},
		"another chain": {func(r *region, mine *transport.Credentials) *caller {
			c := r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
			c.send(c.batch("eu/evil", 3, none))
			m := c.batch("eu/evil", 3, none)
			m.Before[0] ^= 1
			c.send(m)
			return c
		}, "diverged"},
		"an old term": {func(r *region, mine *transport.Credentials) *caller {
			before := r.call(mine, 5, custody.Term{Epoch: 2, Session: 1})
			before.send(before.batch("eu/evil", 3, none)) // the relay keeps it, and so the term
			r.until("the batch is durable", func() bool { return before.acknowledged() == 3 })
			before.leave()
			return r.call(mine, 5, custody.Term{Epoch: 1, Session: 9})
		}, "old term"},
		"one WAL id twice": {func(r *region, mine *transport.Credentials) *caller {
			r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
			return r.call(mine, 5, custody.Term{Epoch: 1, Session: 2})
		}, "in two live sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			r, reg := newRegion(t), prometheus.NewRegistry()
			var log buffer
			stop := r.relay("r1", reg, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			defer stop()
			good := r.call(r.credentials(transport.RoleAgent, "good"), 9, custody.Term{Epoch: 1, Session: 1})
			sent := uint64(0)
			steady := func() {
				t.Helper()
				good.send(good.batch("eu/good", 10, none))
				sent += 10
				r.until("the good child's batch is durable", func() bool { return good.acknowledged() == sent })
			}
			steady()
			evil := c.attack(r, r.credentials(transport.RoleAgent, "evil"))
			for range 5 {
				steady()
			}
			r.until("the hostile child is refused", func() bool {
				evil.mu.Lock()
				defer evil.mu.Unlock()
				return evil.refused != nil
			})
			steady()
			r.until("the log names it", func() bool {
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, "eu/evil") && strings.Contains(line, c.says) {
						return true
					}
				}
				return false
			})
			if n := counter(t, reg, "pando_relay_refused_total", evil.refused.Code); n == 0 {
				t.Errorf("it was not counted as %s", evil.refused.Code)
			}
			if good.s.Err() != nil {
				t.Errorf("the good child's session ended: %v", good.s.Err())
			}
		})
	}
}

// A child that is refused is hung up on, whether it goes on as if it were not
// or just stays, and nothing that it sends meanwhile is logged.
func TestRefusedChildIsHungUpOn(t *testing.T) {
	none := func(*event.Batch) {}
	twice := func(r *region, mine *transport.Credentials) *caller {
		r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
		return r.call(mine, 5, custody.Term{Epoch: 1, Session: 2})
	}
	for name, c := range map[string]struct {
		refused func(r *region, mine *transport.Credentials) *caller
		batches int // that may be logged
		goesOn  bool
	}{
		"at open, and stays": {twice, 0, false},
		"at open":            {twice, 0, true},
		"for a later message": {func(r *region, mine *transport.Credentials) *caller {
			c := r.call(mine, 5, custody.Term{Epoch: 1, Session: 1})
			c.next = 7
			c.send(c.batch("eu/evil", 3, none))
			return c
		}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			stop := r.relay("r1", nil, func(*Options) {})
			defer func() { stop() }()
			evil := c.refused(r, r.credentials(transport.RoleAgent, "evil"))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var sender sync.WaitGroup
			if c.goesOn {
				sender.Go(func() {
					for seq := uint64(1); evil.s.SendControl(ctx, wire.Encode(&wire.Vouch{Lane: event.Bulk, Seq: seq})) == nil; seq++ {
					}
				})
				sender.Go(func() {
					for evil.s.Send(ctx, transport.LaneBulk, wire.Encode(evil.batch("eu/evil", 10, none))) == nil {
					}
				})
			}
			select {
			case <-evil.s.Done():
			case <-ctx.Done():
				t.Error("the session goes on")
			}
			cancel()
			sender.Wait()
			stop()
			if n := r.logged("r1", recBatch); n > c.batches {
				t.Errorf("%d batches of a child that was refused are in the log", n)
			}
			if n := r.logged("r1", recVouch); n > 16 { // some before the refusal
				t.Errorf("%d vouches of a child that was refused are in the log", n)
			}
		})
	}
}

// logged counts the records of a kind in the log of a relay that is down.
func (r *region) logged(name string, kind uint8) (n int) {
	r.t.Helper()
	l, _, err := wal.Open(wal.DefaultOptions(filepath.Join(r.dir, name, "wal")))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for in := l.Reader(l.First()); ; {
		_, b, err := in.Next()
		if err != nil {
			return n
		}
		if b[0] == kind {
			n++
		}
	}
}

// Vouches cost no credit, so they must cost no log: those that say nothing new
// are not logged, and those that come fast become one. A status is taken now
// and then, and not of any size.
func TestControlChannelHasAQuota(t *testing.T) {
	r, reg := newRegion(t), prometheus.NewRegistry()
	var log buffer
	stop := r.relay("r1", reg, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	defer func() { stop() }()
	creds := r.credentials(transport.RoleAgent, "evil")
	c := r.call(creds, 5, custody.Term{Epoch: 1, Session: 1})
	const said = 20_000
	for range said {
		c.say(&wire.Vouch{Lane: event.Critical, Seq: 3})
	}
	for seq := range uint64(said) {
		c.say(&wire.Vouch{Lane: event.Bulk, Seq: seq + 1})
	}
	for range 50 {
		c.say(&wire.Status{JSON: []byte(`{}`)})
	}
	c.say(&wire.Status{JSON: append(bytes.Repeat([]byte{' '}, maxChildStatus), `{}`...)})
	c.send(c.batch("eu/evil", 3, func(*event.Batch) {})) // the last one vouches for it
	r.until("the batch is durable", func() bool { return c.acknowledged() == 3 })
	dropped := func(reason string) float64 { return counter(t, reg, "pando_relay_statuses_dropped_total", reason) }
	r.until("the statuses are counted", func() bool { return dropped("large") == 1 })
	if n := dropped("frequent"); n < 25 {
		t.Errorf("of 50 statuses at once %v are too frequent", n)
	}
	r.until("the log names who sends too much", func() bool { return strings.Contains(log.String(), "too large\" node=eu/r1 child=eu/evil") })
	if err := c.s.Err(); err != nil {
		t.Errorf("the session ended: %v", err)
	}

	o := transport.DefaultOptions()
	o.Credentials, o.Network = r.credentials(transport.RoleAgent, "early"), r.net.Host("early")
	early, err := transport.Dial(t.Context(), "r1:7000", transport.Hello{Term: custody.Term{Epoch: 1, Session: 1}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := early.SendControl(t.Context(), wire.Encode(&wire.Vouch{Seq: 1})); err != nil {
		t.Fatal(err)
	}
	r.until("who vouches too early is hung up on", func() bool { return early.Err() != nil })
	r.until("the log names it", func() bool { return strings.Contains(log.String(), "child=eu/early") })
	stop()
	n := r.logged("r1", recVouch)
	t.Logf("%d vouches are %d records", 2*said, n)
	if n < 2 || n > said/4 {
		t.Errorf("%d vouches, of which %d say something new, are %d records", 2*said, said+1, n)
	}
}

// leave ends the session, and gives the relay time to notice.
func (c *caller) leave() {
	c.s.Close("leaving")
	time.Sleep(200 * time.Millisecond)
}

// A child that sends as fast as it can is held to its quota, and another
// child's batches pass beside it.
func TestFloodingChildKeepsToItsQuota(t *testing.T) {
	const quota = 256 << 10
	r := newRegion(t)
	stop := r.relay("r1", nil, func(o *Options) { o.ChildBytesPerS = quota })
	defer stop()
	flood := r.call(r.credentials(transport.RoleAgent, "evil"), 5, custody.Term{Epoch: 1, Session: 1})
	good := r.call(r.credentials(transport.RoleAgent, "good"), 9, custody.Term{Epoch: 1, Session: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel()
	began, bytes := time.Now(), 0
	var mu sync.Mutex
	sender.Go(func() {
		for ctx.Err() == nil {
			m := wire.Encode(flood.batch("eu/evil", 1000, func(*event.Batch) {}))
			if flood.s.Send(ctx, transport.LaneBulk, m) != nil {
				return
			}
			mu.Lock()
			bytes += len(m.Body)
			mu.Unlock()
		}
	})
	sent := uint64(0)
	for time.Since(began) < 3*time.Second {
		good.send(good.batch("eu/good", 1, func(*event.Batch) {}))
		sent++
		r.until("the good child's batch is durable", func() bool { return good.acknowledged() == sent })
	}
	mu.Lock()
	defer mu.Unlock()
	// One second of burst, the window, and a message on top.
	most := quota*(time.Since(began).Seconds()+1) + float64(firstCredit) + 1<<20
	if float64(bytes) > most {
		t.Errorf("%d bytes passed in %s, the quota allows %.0f", bytes, time.Since(began), most)
	}
	t.Logf("%d batches of the good child beside %d bytes of the other", sent, bytes)
}

func (r *region) until(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("in vain: %s", what)
		}
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
