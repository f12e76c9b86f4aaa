package agent

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"pando/agent/input"
	"pando/event"
)

// tuned are the options that may change while the agent runs.
type tuned struct {
	sources   []input.Spec
	relays    []string
	heartbeat time.Duration
	whenFull  [event.Lanes]Policy
	pending   int
}

func tunedBy(o *Options) tuned {
	return tuned{o.Sources, o.Relays, o.Heartbeat, o.WhenFull, o.PendingBytes}
}

// Reconfigure puts new options into force while the agent runs: its sources,
// its relays' addresses, the pause between heartbeats, and what it does when
// its log is full. No session ends, and no line of a file is lost or read
// twice. The other options are those of [New] for good, and are not looked at.
// It returns the names of the sources that were started, stopped or exchanged.
// Between two logs, or while one is being opened, nothing runs that could be
// touched: then what is next opened goes by the new options.
//
// Options that are not valid change nothing. It is safe for concurrent use;
// the last call counts.
func (a *Agent) Reconfigure(o Options) (changed []string, err error) {
	next := a.opts
	next.Sources, next.Relays, next.Heartbeat, next.WhenFull, next.PendingBytes = o.Sources, o.Relays, o.Heartbeat, o.WhenFull, o.PendingBytes
	if err := next.Validate(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.tuning.Lock()
	defer a.tuning.Unlock()
	a.mu.Lock()
	l, old := a.life, a.tuned
	a.tuned = tunedBy(&next)
	a.mu.Unlock()
	if l == nil {
		return changedSources(old.sources, next.Sources), nil
	}
	l.up.SetSeeds(next.Relays)
	l.intake.tune(next.PendingBytes, next.WhenFull)
	select {
	case l.retimed <- struct{}{}:
	default:
	}
	return l.sources.set(next.Sources), nil
}

// changedSources names the sources whose descriptions differ.
func changedSources(old, next []input.Spec) []string {
	in := func(list []input.Spec, s input.Spec) bool {
		return slices.ContainsFunc(list, func(t input.Spec) bool { return reflect.DeepEqual(s, t) })
	}
	var names []string
	for _, s := range slices.Concat(old, next) {
		if !(in(old, s) && in(next, s)) && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// settings are the options in force.
func (a *Agent) settings() tuned {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tuned
}
