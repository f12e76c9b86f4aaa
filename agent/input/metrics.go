package input

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// reason is why something was lost, or was delivered otherwise than it
// should be.
type reason int

const (
	// Lost.
	lostTruncated  reason = iota // bytes that a truncation cut before they were read
	lostUDP                      // datagrams that the kernel dropped
	lostConnection               // connections refused: too many
	lostFrame                    // connections closed: a frame too long to be one
	lostCut                      // bytes beyond the line limit

	// Delivered with a fault.
	faultMalformed  // not of the format
	faultEncoding   // bytes that are no text, replaced by U+FFFD
	faultValue      // value, severity, time or trace id that cannot be read
	faultAttributes // attributes beyond the limit of one event
	faultProducers  // lines of more producers than clocks are learnt for
	faultTemplates  // lines of more templates than are told apart

	// Connections that this side closed; what they had sent was taken.
	closedIdle    // quiet longest when another needed the place
	closedStalled // a message that did not come to its end
	reasons       // number of all

	losses = faultMalformed // what lies before it is lost
	faulty = closedIdle     // what lies before it, and is no loss, has a fault
)

func (r reason) String() string {
	switch r {
	case lostTruncated:
		return "truncated_bytes"
	case lostUDP:
		return "udp_overflow"
	case lostConnection:
		return "connections_refused"
	case lostFrame:
		return "frame_too_long"
	case lostCut:
		return "line_cut_bytes"
	case faultMalformed:
		return "malformed"
	case faultEncoding:
		return "encoding"
	case faultValue:
		return "value"
	case faultAttributes:
		return "attributes"
	case faultProducers:
		return "producers"
	case faultTemplates:
		return "templates"
	case closedIdle:
		return "idle"
	case closedStalled:
		return "stalled"
	}
	return "none"
}

// metrics counts for [Status] and for Prometheus. Safe for concurrent use.
type metrics struct {
	lines, bytes atomic.Uint64
	counts       [reasons]atomic.Uint64

	lineCounter, byteCounter prometheus.Counter
	reasonCounters           [reasons]prometheus.Counter
}

// newMetrics registers the counters of one source. A source of the same name
// that was there before, as after a reload, is continued.
func newMetrics(registerer prometheus.Registerer, source string) (*metrics, error) {
	m := &metrics{}
	counter := func(name, help string, labels prometheus.Labels) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "pando", Subsystem: "input", Name: name, Help: help, ConstLabels: labels,
		})
	}
	m.lineCounter = counter("lines_total", "Lines and messages taken.", prometheus.Labels{"source": source})
	m.byteCounter = counter("bytes_total", "Bytes taken.", prometheus.Labels{"source": source})
	all := []*prometheus.Counter{&m.lineCounter, &m.byteCounter}
	for r := reason(0); r < reasons; r++ {
		name, help := "closed_total", "Connections closed by this side after what they had sent was taken, by reason."
		switch {
		case r < losses:
			name, help = "dropped_total", "What was lost, by reason."
		case r < faulty:
			name, help = "faults_total", "Lines delivered with a fault, by reason."
		}
		m.reasonCounters[r] = counter(name, help, prometheus.Labels{"source": source, "reason": r.String()})
		all = append(all, &m.reasonCounters[r])
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range all {
		err := registerer.Register(*c)
		var before prometheus.AlreadyRegisteredError
		if errors.As(err, &before) {
			if known, ok := before.ExistingCollector.(prometheus.Counter); ok {
				*c, err = known, nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) took(lines, bytes int) {
	m.lines.Add(uint64(lines))
	m.bytes.Add(uint64(bytes))
	m.lineCounter.Add(float64(lines))
	m.byteCounter.Add(float64(bytes))
}

func (m *metrics) count(r reason, n int64) {
	if n > 0 {
		m.counts[r].Add(uint64(n))
		m.reasonCounters[r].Add(float64(n))
	}
}

// fill enters the counts into a status.
func (m *metrics) fill(s *Status) {
	s.Lines, s.Bytes = m.lines.Load(), m.bytes.Load()
	s.Dropped, s.Faults, s.Closed = map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	for r := reason(0); r < reasons; r++ {
		n := m.counts[r].Load()
		switch {
		case n == 0:
		case r < losses:
			s.Dropped[r.String()] = n
		case r < faulty:
			s.Faults[r.String()] = n
		default:
			s.Closed[r.String()] = n
		}
	}
}
