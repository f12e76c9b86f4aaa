package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pando/event"
	"pando/transport"
	"pando/tree/status"
)

type metrics struct {
	reg      prometheus.Registerer
	events   prometheus.Counter
	replaced prometheus.Counter
	dropped  *prometheus.CounterVec // by lane, reason
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		reg:      reg,
		events:   prometheus.NewCounter(prometheus.CounterOpts{Name: "pando_agent_events_total", Help: "Events appended to the log, heartbeats not counted."}),
		replaced: prometheus.NewCounter(prometheus.CounterOpts{Name: "pando_agent_wal_replaced_total", Help: "Logs that were replaced by one with a new WAL id."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pando_agent_dropped_total",
			Help: "Events that were accepted and then given up; the loss ledger has them too."}, []string{"lane", "reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.events, m.replaced, m.dropped)
	}
	return m
}

// sources is where inputs register; they label themselves by name, and a life
// that follows a replaced log registers them again.
func (m *metrics) sources() prometheus.Registerer { return m.reg }

// rate turns a growing count into events a second.
type rate struct {
	at    time.Time
	count uint64
	value float64
}

func (r *rate) update(now time.Time, count uint64) {
	if d := now.Sub(r.at).Seconds(); !r.at.IsZero() && d > 0 {
		r.value = float64(count-min(r.count, count)) / d
	}
	r.at, r.count = now, count
}

func transportOptions(o *Options) transport.Options {
	t := transport.DefaultOptions()
	t.Credentials, t.Network, t.Logger, t.Registerer = o.Credentials, o.Network, o.Logger, o.Registerer
	return t
}

// Health reports why the agent is not ready, or nil: its log takes events and
// its sources' positions are known.
func (a *Agent) Health() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.life == nil:
		return errNotRunning
	case a.full != nil:
		return a.full
	case a.life.journal.Log().Err() != nil:
		return a.life.journal.Log().Err()
	}
	select {
	case <-a.life.resumed:
		return nil
	default:
		return errNoPositions
	}
}

// Counts are the events in the log, for accounting.
type Counts struct {
	WAL      event.WALID
	Last     [event.Lanes]uint64 // last sequence of each lane
	Settled  [event.Lanes]uint64
	Parent   string
	WALBytes int64
	Sealed   *status.Seal // nil before the first
}
