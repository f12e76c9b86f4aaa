package ops

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many scrapes of /metrics are served at once; a scrape
// walks every series, and two scrapers with one retry each are enough.
const maxScrapes = 4

// NewRegistry returns a registry of its own (never the library's global one)
// that holds the Go runtime's and the process's metrics, and pando_build_info.
func NewRegistry() (*prometheus.Registry, error) {
	v := ReadVersion()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pando_build_info",
		Help: "Always 1; the labels say which binary this is.",
		ConstLabels: prometheus.Labels{
			"version": v.Version, "revision": v.Revision, "goversion": v.Go, "os": v.OS, "arch": v.Arch,
		},
	})
	build.Set(1)
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("new registry: %w", err)
		}
	}
	return reg, nil
}

func metricsHandler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		Registry:            reg,
		MaxRequestsInFlight: maxScrapes,
	})
}
