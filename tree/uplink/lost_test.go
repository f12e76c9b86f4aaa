package uplink

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pando/transport"
	"pando/tree/wire"
)

// TestHostIsLost takes the host of the parent away, whose connections then end
// by silence. The other parent goes on sending children there for a while, as a
// follower does until it notices. No dial may be spent on the lost one.
func TestHostIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		creds := certificates(t) // valid in virtual time
		network := transport.NewMemory()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		var knows atomic.Bool // the other one has noticed
		listen := func(name string, answer func(transport.Identity, transport.Hello) (transport.Welcome, error)) {
			o := transport.DefaultOptions()
			o.Credentials, o.Network, o.Answer = creds(transport.RoleRelay, name), network.Host(name), answer
			l, err := transport.Listen(name+":1", o)
			if err != nil {
				t.Fatal(err)
			}
			p := &parent{name: "eu/" + name, l: l}
			all.Go(func() { p.run(ctx, &wire.Directory{}) })
			all.Go(func() { <-ctx.Done(); p.die() })
		}
		listen("leader", nil)
		listen("follower", func(transport.Identity, transport.Hello) (transport.Welcome, error) {
			if knows.Load() {
				return transport.Welcome{}, nil
			}
			return transport.Welcome{Redirect: "leader:1"}, nil
		})
		o := transport.DefaultOptions()
		o.Credentials, o.Network = creds(transport.RoleAgent, "a"), network.Host("a")
		served := make(chan string, 1)
		up, err := New(Options{Self: o.Credentials.Identity(), Seeds: []string{"leader:1", "follower:1"}, Transport: o,
			Logger: slog.New(slog.DiscardHandler), Serve: func(ctx context.Context, s *transport.Session) {
				served <- s.Peer().Node()
				select {
				case <-ctx.Done():
				case <-s.Done():
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = up.Run(ctx) })
		if at := <-served; at != "eu/leader" {
			t.Fatalf("served by %s", at)
		}
		time.Sleep(10 * time.Second)
		network.Cut("a", "leader")
		lost := time.Now()
		time.AfterFunc(700*time.Millisecond, func() { knows.Store(true) })
		if at := <-served; at != "eu/follower" {
			t.Fatalf("served by %s", at)
		}
		if took := time.Since(lost); took >= dialTimeout {
			t.Errorf("served again after %v: a dial to the lost parent was waited for", took)
		}
	})
}
