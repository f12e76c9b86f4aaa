//go:build !zos

package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pando/event"
	"pando/stream"
	"pando/transport"
	"pando/transport/ca"
	"pando/tree/custody"
	"pando/tree/wire"
)

// patience bounds every wait in these tests. None asserts a duration: it is
// only how long a broken build takes to say so.
const patience = 20 * time.Second

// sessionTimeout keeps sessions through the stalls of a machine under load.
const sessionTimeout = 10 * time.Second

// stage is a network in memory with an authority, on which a test puts relays,
// roots that it plays itself, and children that it plays itself.
type stage struct {
	t   *testing.T
	ca  string
	net *transport.Memory
	ctx context.Context
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, ca: t.TempDir(), net: transport.NewMemory()}
	if err := ca.Init(s.ca, "test.example", time.Hour); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return s
}

// options are those of a node's sessions; its host has its name.
func (s *stage) options(role transport.Role, region, name string, fallback ...string) transport.Options {
	s.t.Helper()
	cert, key, err := ca.Issue(s.ca, transport.Identity{Role: role, Region: region, Name: name, Fallback: fallback}, nil, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	base := filepath.Join(s.t.TempDir(), name)
	if err := ca.Save(base+".pem", base+"-key.pem", cert, key); err != nil {
		s.t.Fatal(err)
	}
	o := transport.DefaultOptions()
	o.Network = s.net.Host(name)
	o.Timeout = sessionTimeout
	if o.Credentials, err = transport.LoadCredentials(transport.Files{CA: filepath.Join(s.ca, ca.CertFile), Cert: base + ".pem", Key: base + "-key.pem"}); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// relay runs a relay at name:1 until the test ends, or stop is called.
func (s *stage) relay(region, name string, fallback []string, parents ...string) (r *Relay, stop func()) {
	s.t.Helper()
	topts := s.options(transport.RoleRelay, region, name, fallback...)
	o := DefaultOptions()
	o.Dir, o.Credentials, o.Network, o.Listen, o.Parents = s.t.TempDir(), topts.Credentials, topts.Network, name+":1", parents
	o.timeout = sessionTimeout
	o.SegmentBytes, o.Logger = 2<<20, slog.New(slog.NewTextHandler(s.t.Output(), nil))
	r, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(stop)
	return r, stop
}

// until waits for a condition that others bring about.
func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	for start := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			s.t.Fatal("it does not come true: " + what)
		}
	}
}

// heard is a request as it came to the root.
type heard struct {
	relay string // in whose name
	kind  uint8
	bulk  bool // on the bulk connection
	m     wire.Message
	id    *uint64
}

// stageRoot is a root that a test plays: it notes requests, and answers those
// that hold lets pass. Sections are applied.
type stageRoot struct {
	s        *stage
	listener *transport.Listener

	mu      sync.Mutex
	session *transport.Session
	got     []heard
	held    []heard // without an answer
	hold    func(heard) bool
}

// root listens at name:1. Its time is bounded by the bound, in nanoseconds.
func (s *stage) root(name string, bound int64) *stageRoot {
	s.t.Helper()
	o := s.options(transport.RoleRoot, "core", name)
	o.Time.Root = func() (int64, int64, bool) { return rootTime(), bound, true }
	l, err := transport.Listen(name+":1", o)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &stageRoot{s: s, listener: l, hold: func(heard) bool { return false }}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			x, err := l.Accept(s.ctx)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.session = x
			r.mu.Unlock()
			all.Go(func() { r.listen(x) })
		}
	})
	s.t.Cleanup(func() {
		_ = l.Close()
		r.cutOff()
		all.Wait()
	})
	return r
}

// rootTime is far from every node's own wall clock.
func rootTime() int64 { return time.Now().Add(1000 * time.Second).UnixNano() }

// cutOff ends the present session.
func (r *stageRoot) cutOff() {
	r.mu.Lock()
	x := r.session
	r.held = nil
	r.mu.Unlock()
	if x != nil {
		x.Close("cut off by the test")
	}
}

func (r *stageRoot) listen(x *transport.Session) {
	var bulk sync.WaitGroup
	defer bulk.Wait()
	bulk.Go(func() {
		r.take(x, true, func() (m transport.Message, err error) {
			if m, err = x.Receive(r.s.ctx, transport.LaneBulk); err == nil {
				x.Grant(transport.LaneBulk, m.Cost())
			}
			return m, err
		})
	})
	r.take(x, false, func() (transport.Message, error) { return x.ReceiveControl(r.s.ctx) })
}

func (r *stageRoot) take(x *transport.Session, bulk bool, next func() (transport.Message, error)) {
	for {
		m, err := next()
		if err != nil {
			return
		}
		h := heard{relay: x.Peer().Node(), kind: m.Kind, bulk: bulk}
		if m.Kind == wire.KindForward {
			var f wire.Forward
			if err := wire.Decode(m.Body, &f); err != nil {
				r.s.t.Error(err)
				return
			}
			h.relay, h.kind, m.Body = f.Relay, f.Kind, f.Body
		}
		switch h.kind {
		case wire.KindStatus:
			h.m, err = &wire.Status{}, nil
		case wire.KindDigest:
			d := &wire.Digest{}
			h.m, h.id, err = d, &d.ID, wire.Decode(m.Body, d)
		default:
			h.m, h.id, err = wire.Request(h.kind, m.Body)
		}
		if err != nil {
			r.s.t.Error(err)
			return
		}
		r.mu.Lock()
		r.got = append(r.got, h)
		wait := r.hold(h)
		if wait {
			r.held = append(r.held, h)
		}
		r.mu.Unlock()
		if !wait {
			r.answer(h)
		}
	}
}

func (r *stageRoot) answer(h heard) {
	var a wire.Message
	switch m := h.m.(type) {
	case *wire.Claim:
		a = &wire.ClaimAnswer{ID: m.ID, Origin: m.Origin, WAL: m.WAL, Term: m.Term, Granted: true}
	case *wire.Ask:
		d := &wire.DigestAnswer{ID: m.ID}
		for _, u := range m.Units {
			d.Judgements = append(d.Judgements, wire.Judgement{Unit: u})
		}
		a = d
	case *wire.Findings:
		a = &wire.Done{ID: m.ID}
	case *wire.Digest:
		d := &wire.DigestAnswer{ID: m.ID}
		for _, b := range m.Sections {
			sec, err := wire.DecodeSection(b)
			if err != nil {
				r.s.t.Error(err)
			}
			d.Judgements = append(d.Judgements, wire.Judgement{Unit: sec.Head.Unit, To: sec.Head.To, Settled: sec.Head.To})
		}
		a = d
	default:
		return
	}
	r.mu.Lock()
	x := r.session
	r.mu.Unlock()
	_ = x.SendControl(r.s.ctx, wire.Encode(a)) // the session may be over
}

// say sends something in the present session.
func (r *stageRoot) say(m wire.Message) {
	r.mu.Lock()
	x := r.session
	r.mu.Unlock()
	if err := x.SendControl(r.s.ctx, wire.Encode(m)); err != nil {
		r.s.t.Error(err)
	}
}

// requests are those of a relay and kind that came so far.
func (r *stageRoot) requests(relay string, kind uint8) (list []heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.got {
		if h.relay == relay && h.kind == kind {
			list = append(list, h)
		}
	}
	return list
}

// release answers what was held back, the last one first.
func (r *stageRoot) release() {
	r.mu.Lock()
	held := r.held
	r.held = nil
	r.mu.Unlock()
	for _, h := range slices.Backward(held) {
		r.answer(h)
	}
}

func (r *stageRoot) holdBack(which func(heard) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = which
}

// lowerRelay is a relay below that a test plays.
type lowerRelay struct {
	s    *stage
	name string
	x    *transport.Session
}

// child connects a relay to the one at addr.
func (s *stage) child(region, name, addr string) *lowerRelay {
	s.t.Helper()
	x, err := transport.Dial(s.ctx, addr, transport.Hello{Term: transport.Term{Epoch: 1, Session: 1}}, s.options(transport.RoleRelay, region, name))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { x.Close("the test is over") })
	return &lowerRelay{s: s, name: region + "/" + name, x: x}
}

func (l *lowerRelay) send(m wire.Message) {
	l.s.t.Helper()
	if err := l.x.SendControl(l.s.ctx, wire.Encode(m)); err != nil {
		l.s.t.Fatal(err)
	}
}

// next is the next message of a kind; others are passed over.
func (l *lowerRelay) next(kind uint8, into wire.Message) {
	l.s.t.Helper()
	ctx, cancel := context.WithTimeout(l.s.ctx, patience)
	defer cancel()
	for {
		m, err := l.x.ReceiveControl(ctx)
		if err != nil {
			l.s.t.Fatalf("%s waits for kind %d: %v", l.name, kind, err)
		}
		if m.Kind == kind {
			if err := wire.Decode(m.Body, into); err != nil {
				l.s.t.Fatal(err)
			}
			return
		}
	}
}

// rooted waits until the parent says that it has a root, and returns its life.
func (l *lowerRelay) rooted() uint64 {
	l.s.t.Helper()
	for {
		var m wire.Uplink
		if l.next(wire.KindUplink, &m); m.Life != 0 {
			return m.Life
		}
	}
}

// ended waits until the session is over and returns why.
func (l *lowerRelay) ended() error {
	l.s.t.Helper()
	select {
	case <-l.x.Done():
		return l.x.Err()
	case <-time.After(patience):
		l.s.t.Fatal(l.name + ": the session goes on")
		return errors.New("unreachable")
	}
}

// section is one of a unit named after the relay, with n bytes of names in it.
func (l *lowerRelay) section(from, to uint64, n int) []byte {
	fold := stream.NewFold(stream.DefaultLimits())
	for i := 0; i*100 < n; i++ {
		fold.Merge(stream.RowsOf(&event.Event{Seq: from, Entity: fmt.Sprintf("%0100d", i), Signal: "s"}, 1e9))
	}
	return wire.EncodeSection(&wire.Section{Head: custody.Head{Unit: event.Unit{Origin: l.name + "-agent", WAL: 1}, Relay: l.name, From: from, To: to}, Rows: fold.Take()})
}
