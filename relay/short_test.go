package relay

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// fullRelay is a relay with a small log, of which only the log is at work. The
// test is its child and its root.
type fullRelay struct {
	*Relay
	t    *testing.T
	opts Options
	all  *caller // what the child sends
	now  int64
	stop func()
}

const smallSegment = 128 << 10

func newFullRelay(t *testing.T) *fullRelay {
	r := newRegion(t)
	o := DefaultOptions()
	o.Dir, o.SegmentBytes, o.MaxBytes = filepath.Join(r.dir, "r1"), smallSegment, 2*smallSegment
	o.Credentials, o.Network, o.Listen, o.Parents = r.credentials(transport.RoleRelay, "r1"), r.net.Host("r1"), "r1:7000", []string{"nowhere:1"}
	o.Logger = slog.New(slog.DiscardHandler)
	f := &fullRelay{t: t, opts: o, all: &caller{t: t, wal: 7, next: 1}, now: 1000e9}
	f.start()
	return f
}

func (f *fullRelay) start() {
	f.t.Helper()
	r, err := New(f.opts)
	if err != nil {
		f.t.Fatalf("the relay does not start: %v", err)
	}
	f.Relay = r
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.journal.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, r.listener.Close(), r.journal.Log().Close()); err != nil { // as after a crash
			f.t.Error(err)
		}
	})
}

func (f *fullRelay) put(rec Record) error {
	_, err := f.journal.Append(rec.Kind, rec.Body, rec.Urgent)
	if err != nil && !errors.Is(err, wal.ErrFull) {
		f.t.Fatal(err)
	}
	return err
}

// open opens the units of a child whose disk holds all that it will send.
func (f *fullRelay) open(session uint64) error {
	o := wire.Open{WAL: 7, Term: custody.Term{Epoch: 1, Session: session}}
	for l := range o.Offers {
		o.Offers[l] = custody.Offer{From: 1, Last: 1 << 30, Synced: 1 << 30}
	}
	rec, err := OpenRecord(session, "eu/a", session, wire.Encode(&o).Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.put(rec)
}

// fill sends batches until they are refused, and repeats records until they are.
func (f *fullRelay) fill(more ...Record) {
	f.t.Helper()
	for err := error(nil); err == nil; {
		next, chain := f.all.next, f.all.chain
		rec, derr := BatchRecord(1, event.Bulk, f.now, wire.Encode(f.all.batch("eu/a", 20, func(*event.Batch) {})).Body)
		if derr != nil {
			f.t.Fatal(derr)
		}
		if err = f.put(rec); err != nil {
			f.all.next, f.all.chain = next, chain
		}
	}
	for _, rec := range more {
		for n := 0; f.put(rec) == nil; n++ {
			if n > 1<<20 {
				f.t.Fatal("the log never gets full")
			}
		}
	}
}

// rooted connects a root.
func (f *fullRelay) rooted() {
	f.t.Helper()
	if err := f.upstream.stand("core/root", &wire.Uplink{Life: 1}); err != nil {
		f.t.Fatalf("a full log does not take that there is a root: %v", err)
	}
}

// settle is the root that settles all that it is sent, while time passes.
func (f *fullRelay) settle(done func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			f.t.Fatal("a full log stays full")
		}
		f.now += 1e8
		if err := f.pulse(f.now); err != nil && !errors.Is(err, wal.ErrFull) {
			f.t.Fatal(err)
		}
		for _, m := range append(f.upstream.due(event.Critical), f.upstream.due(event.Bulk)...) {
			var a wire.Message
			switch m.Kind {
			case wire.KindClaim:
				var c wire.Claim
				f.decode(m, &c)
				a = &wire.ClaimAnswer{ID: c.ID, Origin: c.Origin, WAL: c.WAL, Term: c.Term, Granted: true}
			case wire.KindDigest:
				var d wire.Digest
				f.decode(m, &d)
				answer := &wire.DigestAnswer{ID: d.ID}
				for _, b := range d.Sections {
					s, err := wire.DecodeSection(b)
					if err != nil {
						f.t.Fatal(err)
					}
					answer.Judgements = append(answer.Judgements, wire.Judgement{Unit: s.Head.Unit, Term: s.Head.Term, To: s.Head.To,
						Verdict: custody.Apply, InForce: s.Head.Term, Settled: s.Head.To, Chain: s.Head.After})
				}
				a = answer
			case wire.KindFindings:
				var m2 wire.Findings
				f.decode(m, &m2)
				a = &wire.Done{ID: m2.ID}
			default:
				continue
			}
			if err := f.upstream.answer(wire.Encode(a)); err != nil {
				f.t.Fatalf("the root's answer is refused: %v", err)
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *fullRelay) decode(m transport.Message, into wire.Message) {
	if err := wire.Decode(m.Body, into); err != nil {
		f.t.Fatal(err)
	}
}

// takesData reports whether the log takes data again.
func (f *fullRelay) takesData() bool { return f.journal.Short(journal.Data) == nil }

// upkeep is what comes by itself, or as a child likes it.
func (f *fullRelay) upkeep() []Record {
	return []Record{VouchRecord(1, event.Bulk, 1), TickRecord(f.now), ClockRecord(clock.Mapping{Boot: clock.Boot{1}}), {Kind: recGrant, Body: encodeNumbers(1 << 20)}}
}

// Batches, and then vouches, ticks and estimates of time fill a log. The root
// still settles what is in it, and so it has room again.
func TestFullLogIsSettled(t *testing.T) {
	for name, claimed := range map[string]bool{"that the root hears of later": false, "that needs a tick to go on": true} {
		t.Run(name, func(t *testing.T) {
			f := newFullRelay(t)
			defer func() { f.stop() }()
			if err := f.open(1); err != nil {
				t.Fatal(err)
			}
			if claimed {
				f.rooted()
				f.settle(func() (yes bool) {
					f.journal.View(func(k journal.Core) {
						yes = k.(*core).units[event.Unit{Origin: "eu/a", WAL: 7, Lane: event.Bulk}].intake.Claimed
					})
					return yes
				})
			}
			f.fill(f.upkeep()...)
			if !claimed {
				f.rooted()
			}
			f.settle(f.takesData)
		})
	}
}

// A root that comes and goes leaves no more in a full log than what it settles.
// That it went is said when there is room.
func TestFlappingRootDoesNotFillTheLog(t *testing.T) {
	f := newFullRelay(t)
	defer func() { f.stop() }()
	if err := f.open(1); err != nil {
		t.Fatal(err)
	}
	f.fill(f.upkeep()...)
	before := f.journal.Log().Last()
	for range 10 {
		f.rooted()
		if err := f.upstream.stand("", nil); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			f.now += 1e8
			if err := f.pulse(f.now); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Each time a word that there is a root, and at most a hash on the way.
	if n := f.journal.Log().Last() - before; n > 11 {
		t.Errorf("a root that came ten times left %d records", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	waits := f.upstream.flaps
	for range 12 {
		f.upstream.restrain(ctx, nil)
	}
	if f.upstream.flaps <= waits || f.upstream.flaps != flapPause {
		t.Errorf("a root that comes and goes has to wait %s", f.upstream.flaps)
	}
	f.rooted()
	f.settle(f.takesData)
	if err := f.upstream.stand("", nil); err != nil {
		t.Fatal(err)
	}
	up := true
	f.journal.View(func(k journal.Core) { up = k.(*core).up })
	if up {
		t.Error("the core was not told that the root went")
	}
}

// However a log was filled, the relay starts with it, any number of times, and
// it can still be settled.
func TestFullLogStartsAgain(t *testing.T) {
	for name, fill := range map[string]func(f *fullRelay){
		"with what may fill it": func(f *fullRelay) { f.fill(append(f.upkeep(), UplinkRecord(true))...) },
		"to the last byte, as an older version did": func(f *fullRelay) {
			f.fill(f.upkeep()...)
			for err := error(nil); err == nil; {
				_, err = f.journal.AppendAs(journal.Last, recVouch, encodeNumbers(1, 1, 1), false)
			}
		},
		"with its session open": func(f *fullRelay) { f.fill(f.upkeep()...) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFullRelay(t)
			defer func() { f.stop() }()
			if err := f.open(1); err != nil {
				t.Fatal(err)
			}
			fill(f)
			for n := range 5 {
				f.stop()
				if n == 2 { // and with other detectors
					f.opts.Analysis.Detectors.Hold += time.Second
				}
				f.start()
				if f.takesData() {
					t.Fatal("it has room for data: this shows nothing")
				}
			}
			if size := f.journal.Log().Size(); size > f.opts.MaxBytes+smallSegment {
				t.Errorf("the log takes %d bytes, its limit is %d", size, f.opts.MaxBytes)
			}
			f.rooted()
			f.settle(f.takesData)
			if size := f.journal.Log().Size(); size > f.opts.MaxBytes {
				t.Errorf("with room again the log takes %d bytes, its limit is %d", size, f.opts.MaxBytes)
			}
			if err := f.pay(); err != nil {
				t.Error(err)
			}
			want, err := f.opts.analysisYAML()
			if err != nil {
				t.Fatal(err)
			}
			f.journal.View(func(k journal.Core) {
				if string(k.(*core).config) != string(want) {
					t.Error("the changed detectors are not in force")
				}
			})
		})
	}
}

// The end of a session is remembered while the log takes nothing, and said
// before its agent opens the next one, which would be one WAL id twice.
func TestEndOfASessionIsSaidAtLast(t *testing.T) {
	f := newFullRelay(t)
	defer func() { f.stop() }()
	if err := f.open(1); err != nil {
		t.Fatal(err)
	}
	f.fill(append(f.upkeep(), UplinkRecord(true))...)
	if err := f.close(1); !errors.Is(err, wal.ErrFull) {
		t.Fatalf("the log took it: this shows nothing: %v", err)
	}
	live := func() (n int) {
		f.journal.View(func(k journal.Core) { n = len(k.(*core).sessions) })
		return n
	}
	if live() != 1 {
		t.Fatal("no session is open")
	}
	f.stop()
	f.start()
	if live() != 0 {
		t.Error("a start leaves a session open")
	}
	f.rooted()
	f.settle(f.takesData)
	if err := f.open(2); err != nil {
		t.Fatal(err)
	}
	f.owing.Lock()
	f.owed.closed = append(f.owed.closed, 2)
	f.owing.Unlock()
	if err := f.pay(); err != nil || live() != 0 {
		t.Errorf("%d sessions are open: %v", live(), err)
	}
}
