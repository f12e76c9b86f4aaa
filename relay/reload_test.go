//go:build !zos

package relay

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/stream/anomaly"
	"pando/tree/gossip"
	"pando/tree/journal"
)

// reloadable is a relay with a gossip pool that does not run yet.
func reloadable(t *testing.T) *Relay {
	r := newRegion(t)
	o := DefaultOptions()
	o.Dir, o.SegmentBytes, o.Registerer = r.dir, 2<<20, prometheus.NewRegistry()
	o.Credentials, o.Network = r.credentials("relay", "r"), r.net.Host("r")
	o.Listen, o.Parents = "r:7000", []string{"nowhere:1"}
	g := gossip.DefaultOptions()
	g.Bind, g.Pool, g.Keys = "127.0.0.1:0", "test/eu", [][]byte{gossip.NewKey()}
	o.Gossip = &g
	x, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.release() })
	return x
}

// changed are options that change all that may change.
func changed(r *Relay) Options {
	o := r.opts
	g := *o.Gossip
	g.Keys = [][]byte{gossip.NewKey(), g.Keys[0]}
	o.Gossip, o.Parents = &g, []string{"elsewhere:1"}
	o.Analysis.Detectors.Rules = append(slices.Clone(o.Analysis.Detectors.Rules), anomaly.Rule{Name: "new", Signal: "x", Count: 1, Within: 10 * time.Second, Class: anomaly.Error, Severity: anomaly.Level(event.SeverityError)})
	return o
}

func configOf(r *Relay) (config []byte) {
	r.journal.View(func(c journal.Core) { config = bytes.Clone(c.(*core).config) })
	return config
}

func TestReconfigureIsAllOrNothing(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		r := reloadable(t)
		before, o := configOf(r), changed(r)
		touched, err := r.Reconfigure(o)
		if err != nil || !slices.Equal(touched, []string{"detectors and windows", "gossip keys"}) {
			t.Fatalf("touched %v, %v", touched, err)
		}
		if bytes.Equal(configOf(r), before) || !sameKeys(r.pool.Keys(), o.Gossip.Keys) {
			t.Error("detectors or keys are as before")
		}
		if touched, err := r.Reconfigure(o); err != nil || len(touched) != 0 {
			t.Errorf("once more: touched %v, %v", touched, err)
		}
	})
	nothing := func(name string, spoil func(r *Relay, o *Options)) {
		t.Run(name, func(t *testing.T) {
			r := reloadable(t)
			before, keys, o := configOf(r), r.pool.Keys(), changed(r)
			spoil(r, &o)
			if touched, err := r.Reconfigure(o); err == nil || touched != nil {
				t.Fatalf("touched %v, %v", touched, err)
			}
			if !bytes.Equal(configOf(r), before) {
				t.Error("the detectors changed")
			}
			if !sameKeys(r.pool.Keys(), keys) {
				t.Error("the gossip keys changed")
			}
		})
	}
	nothing("a log that takes nothing", func(r *Relay, _ *Options) { _ = r.journal.Log().Close() })
	nothing("a key too short", func(_ *Relay, o *Options) { o.Gossip.Keys[0] = []byte("short") })
	nothing("a pool that has closed", func(r *Relay, _ *Options) { _ = r.pool.Close() })
	nothing("a wrong rule", func(_ *Relay, o *Options) { o.Analysis.Detectors.Rules[len(o.Analysis.Detectors.Rules)-1].Name = "" })
}
