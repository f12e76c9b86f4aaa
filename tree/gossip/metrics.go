//go:build !zos

package gossip

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	members      prometheus.Gauge
	refused      *prometheus.CounterVec // by reason
	joins        *prometheus.CounterVec // by result: ok, failed
	stateFailure prometheus.Counter

	reg prometheus.Registerer // nil if nobody reads them
}

// newMetrics registers the metrics of one pool; its name is a label, so that
// several pools of one process share a registerer. A nil registerer gives
// metrics that nobody reads.
func newMetrics(reg prometheus.Registerer, pool string) (*metrics, error) {
	m := &metrics{
		members: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pando_gossip_members",
			Help: "Members of the gossip pool that are believed alive, this one included.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pando_gossip_refused_total",
			Help: "Messages and members refused by the gossip pool, by reason.",
		}, []string{"reason"}),
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pando_gossip_joins_total",
			Help: "Attempts to reach a peer that is not a member at present, by result.",
		}, []string{"result"}),
		stateFailure: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pando_gossip_state_write_failures_total",
			Help: "Failed writes of the file that remembers the pool's members.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	m.reg = prometheus.WrapRegistererWith(prometheus.Labels{"pool": pool}, reg)
	for i, c := range m.all() {
		if err := m.reg.Register(c); err != nil {
			for _, done := range m.all()[:i] {
				m.reg.Unregister(done)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.members, m.refused, m.joins, m.stateFailure}
}

// close unregisters the metrics, so that the pool may be opened again.
func (m *metrics) close() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all() {
		m.reg.Unregister(c)
	}
}
