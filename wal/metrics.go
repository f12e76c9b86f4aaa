package wal

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one log. A process with several logs gives each a registerer
// that adds a label of its own.
type metrics struct {
	records, bytes, refused      prometheus.Counter
	group, sync                  prometheus.Histogram
	segments, size, full, failed prometheus.Gauge

	registerer prometheus.Registerer // nil: none
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pando", Subsystem: "wal", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "pando", Subsystem: "wal", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "pando", Subsystem: "wal", Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		records:    counter("records_total", "Records made durable."),
		bytes:      counter("bytes_total", "Bytes of frames made durable."),
		refused:    counter("refused_total", "Appends refused because the log was full, failed or closed."),
		group:      histogram("group_bytes", "Bytes covered by one sync.", prometheus.ExponentialBuckets(256, 4, 8)),
		sync:       histogram("sync_seconds", "Duration of a sync.", prometheus.ExponentialBuckets(50e-6, 2, 16)),
		segments:   gauge("segments", "Segments that hold records."),
		size:       gauge("size_bytes", "Bytes of segment files on disk, preallocated ones included."),
		full:       gauge("full", "1 while no disk space can be had for new records."),
		failed:     gauge("failed", "1 after a write or sync failed; the process must restart."),
		registerer: reg,
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range m.all() {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.records, m.bytes, m.refused, m.group, m.sync, m.segments, m.size, m.full, m.failed}
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all() {
		m.registerer.Unregister(c)
	}
}

func level(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
