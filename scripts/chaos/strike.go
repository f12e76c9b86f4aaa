//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// strike is one injection of a fault. For each source that it concerns it
// measures the time from the fault until a line that was written after it is
// settled at the root.
type strike struct {
	c    *chaos
	name string
	at   time.Time

	waiting sync.WaitGroup
	mu      sync.Mutex
	took    []time.Duration
	missed  []string
	lasted  time.Duration
}

// strike says what happens, lets it happen, and begins to measure.
func (c *chaos) strike(ctx context.Context, name, text string, sources []*source, harm func() error) (*strike, error) {
	c.say("%s", text)
	s := &strike{c: c, name: name, at: time.Now()}
	if err := harm(); err != nil {
		return nil, err
	}
	for _, src := range sources {
		after := src.written.Load() + 1 // the first that is written from now on
		s.waiting.Go(func() {
			settled := c.watch.await(ctx, src.entity(), after, recoverLimit)
			took := time.Since(s.at)
			s.mu.Lock()
			defer s.mu.Unlock()
			if settled {
				s.took = append(s.took, took)
			} else if ctx.Err() == nil {
				s.missed = append(s.missed, src.entity())
			}
		})
	}
	return s, nil
}

// over says that the harm has been undone.
func (s *strike) over() { s.lasted = time.Since(s.at) }

// settled waits until all sources are settled again, and adds the times to the
// result.
func (s *strike) settled() {
	s.waiting.Wait()
	s.c.result.add(s.name, s.lasted, s.took)
	for _, entity := range s.missed {
		s.c.fault("%s: %s: nothing new was settled within %s", s.name, entity, recoverLimit)
	}
	if len(s.took) > 0 {
		s.c.say("settled again after %s", seconds(slices.Max(s.took)))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// urgent are the sources of critical lines of some agents.
func (c *chaos) urgent(of func(agent string) bool) []*source {
	var list []*source
	for _, s := range c.sources {
		if s.kind == kindUrgent && of(s.agent) {
			list = append(list, s)
		}
	}
	return list
}

func (c *chaos) all() []*source { return c.urgent(func(string) bool { return true }) }

func (c *chaos) sourcesOf(n *node) []*source {
	return c.urgent(func(agent string) bool { return agent == n.name })
}
