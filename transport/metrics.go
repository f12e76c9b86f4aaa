package transport

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all sessions and listeners that share a registerer.
type metrics struct {
	sessions prometheus.Gauge
	opened   *prometheus.CounterVec // side
	ended    *prometheus.CounterVec // reason
	refused  *prometheus.CounterVec // reason
	messages *prometheus.CounterVec // lane, direction
	bytes    *prometheus.CounterVec // lane, direction
	rtt      prometheus.Histogram
}

// newMetrics registers the metrics, or finds those that an earlier session
// registered with r. A nil r keeps them out of sight.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pando", Subsystem: "transport", Name: name, Help: help}, labels)
	}
	m := &metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "pando", Subsystem: "transport", Name: "sessions", Help: "Sessions that are open."}),
		opened:   counter("sessions_opened_total", "Sessions opened, by the side this node was on.", "side"),
		ended:    counter("sessions_ended_total", "Sessions ended, by reason.", "reason"),
		refused:  counter("refused_total", "Connections, handshakes and frames refused, by reason.", "reason"),
		messages: counter("messages_total", "Messages carried, by lane and direction.", "lane", "direction"),
		bytes:    counter("bytes_total", "Bytes of message bodies carried, by lane and direction.", "lane", "direction"),
		rtt: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "pando", Subsystem: "transport", Name: "round_trip_seconds",
			Help: "Round trips of heartbeats on the first connection.", Buckets: prometheus.ExponentialBuckets(25e-6, 2, 16)}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(share(r, &m.sessions), share(r, &m.opened), share(r, &m.ended), share(r, &m.refused),
		share(r, &m.messages), share(r, &m.bytes), share(r, &m.rtt))
}

// share registers *c, or replaces it by the equal one already registered.
func share[C prometheus.Collector](r prometheus.Registerer, c *C) error {
	err := r.Register(*c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			*c = existing
			return nil
		}
	}
	return err
}

// label is the code if this package knows it. A code may be a peer's word;
// any other is counted as "other", so that a peer cannot make series.
func label(code Code) string {
	switch code {
	case CodeVersion, CodeIdentity, CodeClock, CodeTerm, CodeToken, CodeBusy, CodeCrowded, CodeEvicted, CodeOversize, CodeChecksum, CodeMalformed,
		CodeCredit, CodeRefused, CodeSilent, CodeStalled, CodeLost, CodeClosed, CodeExpired, CodeAuthority, CodeTLS, CodeTimeout:
		return string(code)
	}
	return "other"
}

// traffic counts one lane's messages one way.
type traffic struct{ messages, bytes prometheus.Counter }

func (m *metrics) traffic(lane Lane, direction string) traffic {
	return traffic{m.messages.WithLabelValues(lane.String(), direction), m.bytes.WithLabelValues(lane.String(), direction)}
}

func (t traffic) count(body []byte) {
	t.messages.Inc()
	t.bytes.Add(float64(len(body)))
}
