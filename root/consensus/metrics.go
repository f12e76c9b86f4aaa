//go:build !zos

package consensus

import (
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the member's figures.
type metrics struct {
	busy          prometheus.Counter
	indeterminate prometheus.Counter
	entryBytes    prometheus.Histogram
	entryCommands prometheus.Histogram
	commit        prometheus.Histogram
	store         prometheus.Histogram
}

// newMetrics registers with reg, or with nothing if reg is nil.
func newMetrics(reg prometheus.Registerer, n *Node) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pando", Subsystem: "raft", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "pando", Subsystem: "raft", Name: name, Help: help, Buckets: buckets})
	}
	seconds := prometheus.ExponentialBuckets(0.0002, 2, 16) // 0.2 ms to 6.5 s
	m := &metrics{
		busy:          counter("busy_total", "Commands refused because too many were waiting."),
		indeterminate: counter("indeterminate_total", "Commands whose outcome their caller was not told."),
		entryBytes:    histogram("entry_bytes", "Bytes of a Raft entry.", prometheus.ExponentialBuckets(64, 4, 8)),
		entryCommands: histogram("entry_commands", "Commands packed into a Raft entry.", prometheus.ExponentialBuckets(1, 2, 12)),
		commit:        histogram("commit_seconds", "From Propose to its result.", seconds),
		store:         histogram("store_seconds", "One durable write to the Raft log.", seconds),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func(*raft.Raft) uint64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pando", Subsystem: "raft", Name: name, Help: help},
			func() float64 {
				if r := n.raft.Load(); r != nil {
					return float64(value(r))
				}
				return 0
			})
	}
	reg.MustRegister(m.busy, m.indeterminate, m.entryBytes, m.entryCommands, m.commit, m.store,
		gauge("leader", "1 while this member leads.", func(r *raft.Raft) uint64 {
			if r.State() == raft.Leader {
				return 1
			}
			return 0
		}),
		gauge("term", "Current term.", (*raft.Raft).CurrentTerm),
		gauge("commit_index", "Newest committed entry known here.", (*raft.Raft).CommitIndex),
		gauge("applied_index", "Newest entry handed to the state machine.", (*raft.Raft).AppliedIndex),
		gauge("last_index", "Newest entry on disk.", (*raft.Raft).LastIndex),
		gauge("waiting", "Commands not packed yet.", func(*raft.Raft) uint64 { return uint64(len(n.queue)) }),
	)
	return m
}
