//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// metrics are a node's, by name; those with labels are summed.
func (n *node) metrics() (map[string]float64, error) {
	resp, err := opsClient.Get("http://" + n.addr + ":" + portOps + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	m := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		name, _, _ = strings.Cut(name, "{")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] += v
		}
	}
	return m, nil
}

// usage is what a process holds.
type usage struct {
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
	RSS        float64 `json:"rss_mib"`
}

// How much more than before the faults is near enough: sessions differ with
// the number of children, and the heap with what the run has taught.
const (
	moreGoroutines = 60
	moreFiles      = 30
	moreRSS        = 64 // MiB
	ebbLimit       = 40 * time.Second
)

func (u usage) near(before usage) bool {
	return u.Goroutines <= before.Goroutines+moreGoroutines && u.Files <= before.Files+moreFiles && u.RSS <= 2*before.RSS+moreRSS
}

func (u usage) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f files, %.0f MiB", u.Goroutines, u.Files, u.RSS)
}

// measure asks every node what it holds.
func (c *chaos) measure() map[string]usage {
	all := map[string]usage{}
	for _, n := range c.nodes {
		if m, err := n.metrics(); err == nil {
			all[n.name] = usage{m["go_goroutines"], m["process_open_fds"], m["process_resident_memory_bytes"] / (1 << 20)}
		}
	}
	return all
}

// most is the highest of a role: who leads, and which relay has how many
// agents, changes in a run.
func (c *chaos) most(all map[string]usage, role string) (most usage) {
	for _, n := range c.group(role, "") {
		u := all[n.name]
		most = usage{max(most.Goroutines, u.Goroutines), max(most.Files, u.Files), max(most.RSS, u.RSS)}
	}
	return most
}

// checkResources waits until no node holds much more than one of its role held
// before.
func (c *chaos) checkResources(ctx context.Context, before map[string]usage) {
	deadline := time.Now().Add(ebbLimit)
	for {
		now, high := c.measure(), ""
		for _, n := range c.nodes {
			if is, was := now[n.name], c.most(before, n.role); is == (usage{}) || !is.near(was) {
				high = fmt.Sprintf("%s: %s; before the faults no %s held more than %s", n.name, is, n.role, was)
			}
		}
		c.result.noteResources(before, now)
		if high == "" {
			return
		}
		if time.Now().After(deadline) || wait(ctx, time.Second) != nil {
			c.fault("resources do not come back: %s", high)
			return
		}
	}
}

// watchVotes looks at the roots' comparison of their states, also of roots
// that are about to be killed and forget their counters.
func (c *chaos) watchVotes(ctx context.Context) {
	seen := map[string]float64{}
	for wait(ctx, time.Second) == nil {
		for _, r := range c.group(roleRoot, "") {
			m, err := r.metrics()
			if err != nil {
				continue
			}
			c.result.noteVotes(m["pando_root_votes_agreed_total"])
			if d := m["pando_root_votes_disagreed_total"]; d > seen[r.name] {
				c.fault("%s: its state disagreed with another root's", r.name)
				seen[r.name] = d
			}
		}
	}
}
