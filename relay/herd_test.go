//go:build !zos

package relay

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	herdOf = flag.Int("herd", 120, "agents of TestDeathOfARelayMakesNoHerd")
	plot   = flag.String("plot", "", "where that test draws the handshake rates as SVG")
)

// herd is a region in which one relay of several dies for good.
type herd struct {
	agents, relays int
	budget         int // handshakes a second at each relay
	step           time.Duration
	survivors      [][]int // sessions opened in each step, by survivor
	died           int     // step at which the relay died
	homed          int     // step at which every agent had a parent again
}

// run lives through the death in virtual time.
func (h *herd) run(t *testing.T, r *region) {
	var regs []*prometheus.Registry
	var stops []func()
	var seeds []string
	for i := range h.relays {
		reg := prometheus.NewRegistry()
		name := fmt.Sprint("r", i+1)
		stops = append(stops, r.relay(name, reg, func(o *Options) {
			o.HandshakeEvery, o.HandshakeBurst = time.Second/time.Duration(h.budget), h.budget
		}))
		defer stops[i]()
		regs, seeds = append(regs, reg), append(seeds, name+":7000")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	at := r.agents(ctx, &all, h.agents, true, seeds...)
	homed := func(first int) (n int) {
		for i := first; i < h.relays; i++ {
			n += at(fmt.Sprint("eu/r", i+1))
		}
		return n
	}
	for homed(0) < h.agents {
		time.Sleep(h.step)
	}
	time.Sleep(5 * time.Second) // until the start has calmed down
	opened := make([]float64, h.relays)
	look := func() (fresh []int) {
		for i, reg := range regs {
			now := counter(t, reg, "pando_transport_sessions_opened_total", "listen")
			if i > 0 {
				fresh = append(fresh, int(now-opened[i]))
			}
			opened[i] = now
		}
		return fresh
	}
	look()
	for step := 0; ; step++ {
		if step == h.died {
			for i := range h.agents { // it falls silent, as a machine without power does
				r.net.Cut("r1", fmt.Sprint("a", i))
			}
		}
		time.Sleep(h.step)
		for i, n := range look() {
			if step == 0 {
				h.survivors = append(h.survivors, nil)
			}
			h.survivors[i] = append(h.survivors[i], n)
		}
		if step >= h.died && h.homed == 0 && homed(1) == h.agents {
			h.homed = step
		}
		if h.homed > 0 && step > h.homed+20 {
			return
		}
	}
}

// most is the most sessions that a survivor opened within one second.
func (h *herd) most() (most int) {
	n := int(time.Second / h.step)
	for _, list := range h.survivors {
		for i := range list {
			sum := 0
			for _, x := range list[max(0, i-n+1) : i+1] {
				sum += x
			}
			most = max(most, sum)
		}
	}
	return most
}

// When one relay of four dies, its agents come to the three that are left, and
// none of these opens more sessions a second than its budget, burst included.
// "-herd 2000 -plot ../docs/handshakes.svg" draws it with two thousand agents.
func TestDeathOfARelayMakesNoHerd(t *testing.T) {
	h := herd{agents: *herdOf, relays: 4, budget: max(10, *herdOf/100), step: 100 * time.Millisecond, died: 20}
	synctest.Test(t, func(t *testing.T) { h.run(t, newRegion(t)) })
	most := h.most()
	if most > 2*h.budget {
		t.Errorf("a survivor opened %d sessions within a second, its budget is %d with a burst of as many", most, h.budget)
	}
	total := 0
	for _, list := range h.survivors {
		for _, n := range list[h.died:] {
			total += n
		}
	}
	if total == 0 {
		t.Error("no session was opened after the death: this shows nothing")
	}
	t.Logf("%d agents: all had a parent %s after the death, %d sessions were opened, at most %d a second at one survivor, budget %d",
		h.agents, time.Duration(h.homed-h.died)*h.step, total, most, h.budget)
	if *plot != "" {
		if err := os.WriteFile(*plot, h.svg(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// svg draws, for each survivor, the sessions opened within the last second.
func (h *herd) svg() []byte {
	const (
		width, height = 760, 300
		left, bottom  = 50, 40
	)
	perSecond := int(time.Second / h.step)
	steps := len(h.survivors[0])
	top := float64(2*h.budget) * 1.15
	x := func(step int) float64 { return left + float64(step)*float64(width-left-10)/float64(steps-1) }
	y := func(n float64) float64 { return height - bottom - n*float64(height-bottom-10)/top }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	line := func(n float64, name, color string) {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="%s" stroke-dasharray="4 4"/><text x="%d" y="%.1f" text-anchor="end" fill="%s">%s</text>`+"\n",
			left, y(n), width-10, color, width-14, y(n)-4, color, name)
	}
	line(float64(h.budget), fmt.Sprintf("budget: %d a second", h.budget), "gray")
	line(float64(2*h.budget), "budget and burst within one second", "gray")
	fmt.Fprintf(&b, `<path d="M%d 10V%dH%d" fill="none" stroke="black"/>`+"\n", left, height-bottom, width-10)
	fmt.Fprintf(&b, `<path d="M%.1f 10V%d" stroke="firebrick"/><text x="%.1f" y="22" fill="firebrick">a relay dies</text>`+"\n", x(h.died), height-bottom, x(h.died)+6)
	fmt.Fprintf(&b, `<path d="M%.1f 10V%d" stroke="seagreen"/><text x="%.1f" y="38" text-anchor="end" fill="seagreen">all %d agents have a parent</text>`+"\n",
		x(h.homed), height-bottom, x(h.homed)-6, h.agents)
	for i, list := range h.survivors {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, []string{"steelblue", "darkorange", "purple"}[i%3])
		for step := range list {
			sum := 0
			for _, n := range list[max(0, step-perSecond+1) : step+1] {
				sum += n
			}
			fmt.Fprintf(&b, "%.1f,%.1f ", x(step), y(float64(sum)))
		}
		b.WriteString(`"/>` + "\n")
	}
	for step := 0; step < steps; step += 5 * perSecond {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(step), height-bottom+16, step/perSecond)
	}
	for n := 0; float64(n) <= top; n += max(h.budget/2, 1) {
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%d</text>`+"\n", left-6, y(float64(n))+4, n)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">sessions opened within the last second, at each of %d survivors (virtual time)</text>`+"\n</svg>\n", left, height-6, len(h.survivors))
	return b.Bytes()
}
