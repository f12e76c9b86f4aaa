package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pando/agent/input"
	"pando/event"
	"pando/internal/durable/faulty"
	"pando/transport"
	"pando/transport/ca"
	"pando/tree/custody"
	"pando/tree/wire"
)

// ledger is a relay and a root in one, for an agent to hand events over to:
// it keeps custody by the same rules, settles what is durable now and then,
// and counts each line that it settles.
type ledger struct {
	t        *testing.T
	listener *transport.Listener
	lazy     bool // do not settle at all

	mu        sync.Mutex
	units     map[event.Unit]*ledgerUnit
	current   event.WALID
	positions [event.Lanes]map[string]event.Position
	lines     map[int]int // line → times settled
	lost      int         // lines that losses count
	opens     uint64
	session   *transport.Session // the last one opened
	estate    wire.Estate        // as it said
	closed    event.WALID        // is refused
}

type ledgerUnit struct {
	intake  custody.Intake
	batches map[uint64]*event.Batch // by first
}

func newLedger(t *testing.T, creds *transport.Credentials) *ledger {
	o := transport.DefaultOptions()
	o.Credentials = creds
	l, err := transport.Listen("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	led := &ledger{t: t, listener: l, units: map[event.Unit]*ledgerUnit{}, lines: map[int]int{}}
	for i := range led.positions {
		led.positions[i] = map[string]event.Position{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			s, err := l.Accept(ctx)
			if err != nil {
				return
			}
			sessions.Go(func() { led.serve(ctx, s) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		sessions.Wait()
	})
	return led
}

func (l *ledger) serve(ctx context.Context, s *transport.Session) {
	defer s.Close("over")
	m, err := s.ReceiveControl(ctx)
	for err == nil && m.Kind != wire.KindOpen {
		m, err = s.ReceiveControl(ctx)
	}
	var o wire.Open
	if err != nil || wire.Decode(m.Body, &o) != nil {
		return
	}
	if !l.open(ctx, s, &o) {
		return
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for lane := range event.Lane(event.Lanes) {
		parts.Go(func() {
			for {
				m, err := s.Receive(ctx, transport.Lane(lane))
				if err != nil {
					return
				}
				s.Grant(transport.Lane(lane), m.Cost())
				var b wire.Batch
				if err := wire.Decode(m.Body, &b); err != nil {
					l.t.Error(err)
					return
				}
				if !l.take(ctx, s, lane, &b) {
					s.Close("refused")
					return
				}
			}
		})
	}
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			return
		}
		var v wire.Vouch
		if m.Kind == wire.KindVouch && wire.Decode(m.Body, &v) == nil {
			l.vouch(ctx, s, &v, o.WAL)
		}
	}
}

func (l *ledger) unit(id event.WALID, lane event.Lane) *ledgerUnit {
	u := event.Unit{Origin: "eu/a", WAL: id, Lane: lane}
	if l.units[u] == nil {
		l.units[u] = &ledgerUnit{intake: custody.Intake{EndOK: true}, batches: map[uint64]*event.Batch{}}
	}
	return l.units[u]
}

func (l *ledger) open(ctx context.Context, s *transport.Session, o *wire.Open) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.WAL == l.closed {
		_ = s.SendControl(ctx, wire.Encode(&wire.Refused{WAL: o.WAL, Term: o.Term, Code: wire.RefusedClosed, Reason: "it was replaced"}))
		<-s.Done()
		return false
	}
	l.opens++
	m := wire.Opened{WAL: o.WAL, Term: o.Term}
	for lane := range event.Lane(event.Lanes) {
		n := &l.unit(o.WAL, lane).intake
		n.CloseSession()
		var err error
		if m.Resume[lane], err = n.OpenSession(o.Term, l.opens, o.Offers[lane]); err != nil {
			_ = s.SendControl(ctx, wire.Encode(&wire.Refused{WAL: o.WAL, Term: o.Term, Code: wire.RefusedDiverged, Reason: err.Error()}))
			<-s.Done()
			return false
		}
	}
	l.current, l.session, l.estate = o.WAL, s, o.Estate
	_ = s.SendControl(ctx, wire.Encode(&m))
	if o.Started == 0 {
		c := wire.Claimed{WAL: o.WAL, Opened: l.opens}
		for lane := range c.Positions {
			for _, p := range l.positions[lane] {
				c.Positions[lane] = append(c.Positions[lane], p)
			}
		}
		_ = s.SendControl(ctx, wire.Encode(&c))
	}
	return true
}

func (l *ledger) take(ctx context.Context, s *transport.Session, lane event.Lane, b *wire.Batch) bool {
	batch, err := event.Decode(b.Bytes)
	if err != nil {
		l.t.Error(err)
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.unit(batch.Unit.WAL, lane)
	if err := u.intake.Add(custody.Span{First: batch.First, Last: batch.Last(), Before: b.Before, After: event.Chain(b.Before, b.Bytes)}); err != nil {
		_ = s.SendControl(ctx, wire.Encode(&wire.Refused{WAL: batch.Unit.WAL, Code: wire.RefusedDiverged, Reason: err.Error()}))
		return false
	}
	u.batches[batch.First] = batch
	u.intake.Vouch(b.DurableTo)
	l.settle(ctx, s, batch.Unit.WAL, lane)
	return true
}

func (l *ledger) vouch(ctx context.Context, s *transport.Session, v *wire.Vouch, id event.WALID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unit(id, v.Lane).intake.Vouch(v.Seq)
	l.settle(ctx, s, id, v.Lane)
}

// settle counts what is stepped, unless a newer WAL id took over, and
// acknowledges.
func (l *ledger) settle(ctx context.Context, s *transport.Session, id event.WALID, lane event.Lane) {
	u := l.unit(id, lane)
	var steps []custody.Span
	if !l.lazy {
		steps = u.intake.Step()
	}
	for _, sp := range steps {
		b := u.batches[sp.First]
		delete(u.batches, sp.First)
		if id != l.current {
			continue
		}
		for i := range b.Events {
			switch e := &b.Events[i]; e.Kind {
			case event.Heartbeat:
			case event.Loss:
				n, _ := e.Lost()
				l.lost += int(n)
			default:
				l.lines[int(e.Value)]++
			}
		}
		for _, p := range b.Positions {
			l.positions[lane][p.Source] = p
		}
		if err := u.intake.Applied(sp.Last, sp.After); err != nil {
			l.t.Error(err)
		}
	}
	ack := wire.Ack{Lane: lane, Durable: u.intake.Durable(), Settled: u.intake.Settled}
	_ = s.SendControl(ctx, wire.Encode(&ack))
}

// diligent ends being lazy.
func (l *ledger) diligent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lazy = false
	for lane := range event.Lane(event.Lanes) {
		l.settle(context.Background(), l.session, l.current, lane)
	}
}

func (l *ledger) settledLines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// accounted is how many lines are settled, or known to be lost.
func (l *ledger) accounted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines) + l.lost
}

// rig is an agent on a faulty disk that tails one growing file.
type rig struct {
	t     *testing.T
	opts  Options
	led   *ledger
	file  *os.File
	lines int
	agent *Agent // the present one
}

func newRig(t *testing.T) *rig {
	dir := t.TempDir()
	cad := filepath.Join(dir, "ca")
	if err := ca.Init(cad, "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	creds := func(role transport.Role, name string) *transport.Credentials {
		cert, key, err := ca.Issue(cad, transport.Identity{Domain: "test", Role: role, Region: "eu", Name: name}, nil, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		f := transport.Files{CA: filepath.Join(cad, ca.CertFile), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+"-key.pem")}
		if err := ca.Save(f.Cert, f.Key, cert, key); err != nil {
			t.Fatal(err)
		}
		c, err := transport.LoadCredentials(f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := &rig{t: t, opts: DefaultOptions(), led: newLedger(t, creds(transport.RoleRelay, "r"))}
	path := filepath.Join(dir, "app.log")
	var err error
	if r.file, err = os.Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.file.Close() })
	r.opts.Dir, r.opts.Credentials, r.opts.Relays = "/agent", creds(transport.RoleAgent, "a"), []string{r.led.listener.Addr().String()}
	r.opts.SegmentBytes, r.opts.Heartbeat = 64<<10, 20*time.Millisecond
	r.opts.Sources = []input.Spec{{Name: "app", Type: "tail", Path: path, Pattern: `n=(?P<n>\d+)`, Value: "{n}",
		Criticality: []input.CritRule{{Text: "n=[0-9]*[05]$", Level: 0}}}}
	return r
}

// write appends n numbered lines to the file.
func (r *rig) write(n int) {
	for range n {
		r.lines++
		if _, err := fmt.Fprintf(r.file, "line n=%d\n", r.lines); err != nil {
			r.t.Fatal(err)
		}
	}
}

// live runs the agent on a disk until the given moment, and returns once it
// is down. The moment is told by a channel: a wish, or the disk's crash.
func (r *rig) live(disk *faulty.Disk, until func() bool) {
	r.t.Helper()
	r.opts.FS = disk
	a, err := New(r.opts)
	if err != nil {
		if disk.Crashed() {
			return
		}
		r.t.Fatal(err)
	}
	r.agent = a
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !until() {
		select {
		case err := <-done:
			if !disk.Crashed() {
				r.t.Fatalf("the agent stopped: %v", err)
			}
			return
		case <-ctx.Done():
			r.t.Fatalf("%d of %d lines are settled after a minute", r.led.settledLines(), r.lines)
		case <-tick.C:
		}
	}
	disk.CrashAt(1) // no last words
	cancel()
	<-done
}

// finish runs the agent until all is settled, and checks the count.
func (r *rig) finish(disk *faulty.Disk) {
	r.t.Helper()
	r.live(disk, func() bool { return r.led.settledLines() == r.lines })
	r.exact()
}

// exact fails the test unless each line is settled once.
func (r *rig) exact() {
	r.t.Helper()
	for i := 1; i <= r.lines; i++ {
		if n := r.led.lines[i]; n != 1 {
			r.t.Errorf("line %d is settled %d times", i, n)
		}
	}
}

func TestCrashedAgentHandsOverEveryLineOnce(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(3, 1))
	disk := faulty.New()
	for i := range 8 {
		r.write(200)
		// A disk that takes its time, so that batches are under way before
		// they are on it.
		disk.Fault = func(op faulty.Op) error {
			if op.Kind == faulty.Sync {
				time.Sleep(2 * time.Millisecond)
			}
			return nil
		}
		disk.CrashAt(5 + rng.IntN(60))
		r.live(disk, func() bool { return false })
		disk = disk.Reboot(faulty.Fate{Keep: []int{0, 50, 100}[i%3], Seed: uint64(i)})
	}
	r.finish(disk)
}

func TestLostDiskIsReadAgainFromWhatIsSettled(t *testing.T) {
	r := newRig(t)
	r.write(500)
	r.live(faulty.New(), func() bool { return r.led.settledLines() > 100 })
	r.led.mu.Lock()
	r.led.lazy = true // what follows is durable here, and not settled
	r.led.mu.Unlock()
	r.write(500)
	start := time.Now()
	r.live(faulty.New(), func() bool { return time.Since(start) > 200*time.Millisecond })
	r.led.mu.Lock()
	r.led.lazy = false
	r.led.mu.Unlock()
	r.finish(faulty.New())
}

func TestRolledBackDiskOpensANewWAL(t *testing.T) {
	r := newRig(t)
	r.write(300)
	disk := faulty.New()
	r.live(disk, func() bool { return r.led.settledLines() > 50 })
	image := disk.Reboot(faulty.Fate{Keep: 100})
	old := image.Clone()
	r.write(300)
	r.live(image, func() bool { return r.led.settledLines() == r.lines })
	before := r.led.current
	r.write(300)
	r.finish(old)
	if r.led.current == before {
		t.Error("the agent went on under the WAL id of a disk that was rolled back")
	}
	if e := r.led.estate; e.WAL != before || e.Last[event.Bulk] == 0 || e.Unread != [event.Lanes]uint64{} {
		t.Errorf("the new log says of the one before it, %s: %+v; all of it can be read again", before, e)
	}
}
