//go:build !zos

package relay

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/durable"
	"pando/stream/aggregate"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// BenchmarkCatchUp compares how fast a relay takes batches in, over mutual TLS
// from several agents at once, made durable and stepped, with how fast it steps
// the same log again when it restarts.
func BenchmarkCatchUp(b *testing.B) {
	b.Run("small", func(b *testing.B) { benchmarkCatchUp(b, 512, nil) })
	b.Run("large", func(b *testing.B) { benchmarkCatchUp(b, 4096, nil) })
	b.Run("windows", func(b *testing.B) {
		benchmarkCatchUp(b, 4096, []aggregate.Window{
			{Name: "series", Length: 10 * time.Second, Lateness: time.Second, Quantiles: []float64{0.5, 0.99}, MaxGroups: 1 << 17},
			{Name: "entities", By: aggregate.ByEntity, Length: 10 * time.Second, Slide: time.Second, Lateness: time.Second},
		})
	})
}

// benchmarkCatchUp does it with batches of so many events.
func benchmarkCatchUp(b *testing.B, events int, windows []aggregate.Window) {
	const (
		agents = 4
		// A restart takes a fraction of a second, some of it on the disk.
		restarts = 5
	)
	batches := 900 * 512 / events // of each agent; their log is just short of a checkpoint
	all := uint64(agents * batches * events)
	r := &region{t: b, dir: b.TempDir()}
	r.init()
	var creds [agents]*transport.Credentials
	for i := range creds {
		creds[i] = r.credentials(transport.RoleAgent, fmt.Sprint("a", i))
	}
	var bodies [agents][]wire.Batch
	for i := range bodies {
		bodies[i] = batchesOf(b, creds[i].Identity().Node(), batches, events)
	}
	server := r.credentials(transport.RoleRelay, "r1")
	for b.Loop() {
		o := DefaultOptions()
		o.Analysis.Windows = windows
		o.Dir, o.Credentials, o.Network, o.Listen, o.Parents = b.TempDir(), server, transport.TCP(), "127.0.0.1:0", []string{"127.0.0.1:1"}
		x, err := New(o)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		time.Sleep(timeGrace + 200*time.Millisecond) // a new relay without a root lets nobody in before
		began := time.Now()
		var handing sync.WaitGroup
		for i := range creds {
			handing.Go(func() { handOver(b, creds[i], x.Addr(), bodies[i]) })
		}
		handing.Wait()
		live := time.Since(began)
		if err := x.journal.Log().Close(); err != nil { // no checkpoint: all of it is stepped again
			b.Fatal(err)
		}
		cancel()
		<-done // that its log is closed

		again := time.Duration(0)
		for range restarts {
			again += restart(b, filepath.Join(o.Dir, "wal"), all) / restarts
		}
		b.ReportMetric(float64(all)/live.Seconds(), "live-events/s")
		b.ReportMetric(float64(all)/again.Seconds(), "events/s")
		b.ReportMetric(live.Seconds()/again.Seconds(), "x-live")
	}
}

// restart opens a relay's log as the relay does, and returns how long it took to
// step all of it.
func restart(b *testing.B, dir string, events uint64) time.Duration {
	began := time.Now()
	w := wal.DefaultOptions(dir)
	w.FS = durable.OS()
	j, _, err := journal.Open(journal.Options{WAL: w, Deliver: func([]journal.Output) {},
		Core: func(_ uint64, fetch journal.Fetch) (journal.Core, error) { return newCore("eu/r1", fetch) }})
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	stepped := uint64(0)
	j.View(func(c journal.Core) {
		for _, u := range c.(*core).units {
			stepped += u.stepped
		}
	})
	if stepped != events {
		b.Fatalf("%d events were stepped again, want %d", stepped, events)
	}
	if err := j.Log().Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// handOver sends batches as an agent does, and returns once they are durable.
func handOver(b *testing.B, creds *transport.Credentials, addr string, list []wire.Batch) {
	o := transport.DefaultOptions()
	o.Credentials = creds
	term := custody.Term{Epoch: 1, Session: 1}
	s, err := transport.Dial(b.Context(), addr, transport.Hello{Term: term}, o)
	if err != nil {
		b.Error(err)
		return
	}
	defer s.Close("done")
	open := wire.Open{WAL: 7, Term: term}
	for l := range open.Offers {
		open.Offers[l].From = 1
	}
	if err := s.SendControl(b.Context(), wire.Encode(&open)); err != nil {
		b.Error(err)
		return
	}
	for sent := false; ; {
		m, err := s.ReceiveControl(b.Context())
		if err != nil {
			b.Error(err)
			return
		}
		switch m.Kind {
		case wire.KindOpened:
			if sent {
				continue
			}
			sent = true
			go func() {
				for i := range list {
					if s.Send(b.Context(), transport.LaneBulk, wire.Encode(&list[i])) != nil {
						return
					}
				}
			}()
		case wire.KindAck:
			var a wire.Ack
			if wire.Decode(m.Body, &a) == nil && a.Durable == list[len(list)-1].DurableTo {
				return
			}
		}
	}
}

// batchesOf is what an agent with metric-like events has to say.
func batchesOf(b *testing.B, origin string, batches, events int) (out []wire.Batch) {
	var chain event.Hash
	next := uint64(1)
	for range batches {
		x := event.Batch{Unit: event.Unit{Origin: origin, WAL: 7, Lane: event.Bulk}, First: next, Boot: clock.Boot{1}}
		for i := range events {
			at := int64(next+uint64(i)) * 1e4
			x.Events = append(x.Events, event.Event{Seq: next + uint64(i), Kind: event.Metric, Criticality: 2, Severity: event.SeverityInfo,
				Entity: fmt.Sprintf("shop/svc%d", i%200), Signal: fmt.Sprintf("m%d", i%20), Value: float64(i % 977),
				Stamp: event.Stamp{Lo: at, Hi: at, Point: at}})
		}
		body, err := x.Encode(nil)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, wire.Batch{Before: chain, DurableTo: x.Last(), Mapped: true, Map: clock.Mapping{Boot: clock.Boot{1}, Offset: 1e18, Bound: 1e6}, Bytes: body})
		chain, next = event.Chain(chain, body), x.Last()+1
	}
	return out
}
