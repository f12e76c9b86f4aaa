package relay

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
)

// text collects a log.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.buf.Write(b)
}

func (x *text) count(part string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.Count(x.buf.String(), part)
}

// A machine and its clone, certificate and folder alike, are both connected:
// the relay says so, loudly but not at every attempt.
func TestCloneBesideItsOriginalIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reg, log := newRegion(t), prometheus.NewRegistry(), &text{}
		stop := r.relay("r1", reg, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		defer stop()
		o := transport.DefaultOptions()
		o.Credentials = r.credentials(transport.RoleAgent, "a")
		opens := func(host string, session uint64) *transport.Session {
			o.Network = r.net.Host(host)
			term := custody.Term{Epoch: 1, Session: session}
			s, err := transport.Dial(t.Context(), "r1:7000", transport.Hello{Term: term}, o)
			if err != nil {
				t.Fatal(err)
			}
			m := &wire.Open{WAL: 7, Term: term}
			for l := range m.Offers {
				m.Offers[l] = custody.Offer{From: 1}
			}
			if err := s.SendControl(t.Context(), wire.Encode(m)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			return s
		}
		time.Sleep(timeGrace) // a new relay without a root lets nobody in before
		original := opens("host", 1)
		defer original.Close("test over")
		for n := range uint64(130) { // one a second
			s := opens("copy", n+2)
			s.Close("refused")
			time.Sleep(500 * time.Millisecond)
		}
		if original.Err() != nil {
			t.Fatalf("the first session ended: %v", original.Err())
		}
		if n := counter(t, reg, "pando_relay_refused_total", wire.RefusedTwice); n != 130 {
			t.Errorf("%v refusals are counted, want 130", n)
		}
		if n := log.count("level=ERROR msg=\"one WAL id in two live sessions"); n != 3 {
			t.Errorf("%d lines in 130 seconds, want one a minute", n)
		}
		if log.count("agent=eu/a wal=0000000000000007 address=copy:") != 3 || log.count("other_address=host:") != 3 {
			t.Error("the lines do not name the agent and both addresses")
		}
	})
}
