//go:build !zos

package demo

import (
	"fmt"
	"time"

	"pando/agent/input"
)

// The components of the scenario.
const (
	gateway  = "payments/swift-gateway"
	checkout = "shop/checkout"
	ledger   = "shop/ledger"
	fraud    = "shop/fraud-check"
	export   = "reports/nightly-export" // noise
	sysplex  = "sysplex1/"
)

// Delays of the cascade's steps after the gateway's first timeout. Each is
// longer than the error of the clocks, so that the order can be known.
const (
	ledgerAfter   = 500 * time.Millisecond
	fraudAfter    = 750 * time.Millisecond
	payrunAfter   = 900 * time.Millisecond
	checkoutAfter = 1000 * time.Millisecond
	settleAfter   = 1100 * time.Millisecond
	cicsAAfter    = 1250 * time.Millisecond
	cicsBAfter    = 1400 * time.Millisecond
)

// Skews of the hosts' own clocks against the true time.
const (
	skewA = -187 * time.Second
	skewB = 4200 * time.Millisecond
)

// source is one file or connection of a host.
type source struct {
	spec  input.Spec
	lines []line
	page  string // code page of the file, or empty for UTF-8
}

// host is a machine with an agent.
type host struct {
	name    string
	skew    time.Duration // of its wall clock
	sources []*source
}

// hosts returns the machines of the scenario with everything they will write.
//
//	lpara, lparb ─┐                     ┌─ checkout ─► fraud-check
//	jobs, CICS    ├─► swift-gateway ◄─ ledger ◄─┴──────────┘
func hosts(p Profile, seed uint64) []*host {
	return []*host{
		{name: "vm-swift", skew: 12 * time.Millisecond, sources: []*source{swift(p, seed)}},
		{name: "lpara", skew: skewA, sources: []*source{lparA(p, seed)}},
		{name: "lparb", skew: skewB, sources: []*source{lparB(p, seed)}},
		{name: "k8s-checkout", skew: -3 * time.Millisecond, sources: []*source{
			service(p, seed, checkout, 40, checkoutAfter, ledger, fraud)}},
		{name: "k8s-ledger", skew: 7 * time.Millisecond, sources: []*source{
			service(p, seed, ledger, 40, ledgerAfter, gateway)}},
		{name: "k8s-fraud", skew: -15 * time.Millisecond, sources: []*source{
			service(p, seed, fraud, 20, fraudAfter, ledger), nightly(p, seed)}},
	}
}

// swift is the gateway's syslog, RFC 5424.
func swift(p Profile, seed uint64) *source {
	s := newScript(p, seed, "gateway")
	s.pace(0, p.end(), steadily(30), func(at time.Duration) {
		pri, code, text := 134, "SWGW200", fmt.Sprintf("MT103 acknowledged in %d ms", 20+s.random.IntN(40))
		if at >= p.Learn {
			pri, code, text = 131, "SWGW504", "MT103 not acknowledged within 2000 ms, SWIFTNet session timed out"
		}
		s.add(at, gateway, code, func(n int, wall time.Time) string {
			return fmt.Sprintf("<%d>1 %s vm-swift swift-gateway 4242 %s [pando@32473 n=\"%d\"] %s",
				pri, wall.UTC().Format("2006-01-02T15:04:05.000000Z"), code, n, text)
		})
	})
	return &source{lines: s.done(), spec: input.Spec{
		Name: "gateway", Type: input.TypeSyslog, Listen: "127.0.0.1:0",
		Entity: "payments/{appname}", Value: "{sd.pando@32473.n}",
		Criticality: []input.CritRule{{Signal: "^SWGW504$", Level: 0}},
	}}
}

// service is the JSON access log of a service in Kubernetes, which fails from
// some time after the gateway on, while its callers retry.
func service(p Profile, seed uint64, entity string, perSecond float64, after time.Duration, upstreams ...string) *source {
	name := baseName(entity)
	s := newScript(p, seed, name)
	failing := p.Learn + after
	s.pace(0, p.end(), retried(perSecond, failing), func(at time.Duration) {
		status, ms := 200, 5+s.random.IntN(60)
		if at >= failing && s.random.IntN(25) > 0 {
			status, ms = 503, 2000+s.random.IntN(100)
		}
		s.access(at, entity, status, ms, upstreams[s.random.IntN(len(upstreams))])
	})
	return &source{lines: s.done(), spec: accessLog(name)}
}

// nightly is a report that runs with ten times the requests at night, and has
// nothing to do with the cascade.
func nightly(p Profile, seed uint64) *source {
	s := newScript(p, seed, "export")
	s.pace(0, p.end(), retried(10, p.Learn*3/4), func(at time.Duration) {
		s.access(at, export, 200, 1+s.random.IntN(5), "reports/warehouse")
	})
	return &source{lines: s.done(), spec: accessLog("export")}
}

// access adds a line of an access log.
func (s *script) access(at time.Duration, entity string, status, ms int, upstream string) {
	trace, span := s.hex(16), s.hex(8)
	s.add(at, entity, fmt.Sprintf("http.%d", status), func(n int, wall time.Time) string {
		return fmt.Sprintf(`{"time":%q,"service":%q,"method":"POST","path":"/v1","status":%d,"duration_ms":%d,"upstream":%q,"trace_id":%q,"span_id":%q,"n":%d}`,
			wall.UTC().Format(time.RFC3339Nano), entity, status, ms, upstream, trace, span, n)
	})
}

func accessLog(name string) input.Spec {
	level := 1
	return input.Spec{
		Name: name, Type: input.TypeTail, Format: input.FormatJSON,
		Entity: "{service}", Signal: "http.{status}", Value: "{n}", Peer: "{upstream}", Severity: "info",
		Trace: "{trace_id}", Span: "{span_id}", SourceTime: &input.TimeSpec{Field: "time"},
		Match: []input.Rule{{Field: "status", Pattern: "^5", Severity: "error", Criticality: &level}},
	}
}

func baseName(entity string) string {
	for i := len(entity) - 1; i >= 0; i-- {
		if entity[i] == '/' {
			return entity[i+1:]
		}
	}
	return entity
}
