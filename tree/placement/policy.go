package placement

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Candidate is a relay as one agent knows it.
type Candidate struct {
	Relay
	// LiveSince is since when the relay has been live without a break; zero
	// means that it is not. A relay that has just refused or redirected the
	// agent counts as live since then, so that it is not asked again at once.
	LiveSince time.Time
}

// Action is what a [Decision] asks for.
type Action uint8

const (
	Wait     Action = iota // no relay is live: keep the events and ask again
	Stay                   // the parent remains
	MoveNow                // the parent is gone: go to the new one at once
	MoveBack               // the parent still serves, but a better relay has proved stable: move in good order
)

func (a Action) String() string {
	switch a {
	case Wait:
		return "wait"
	case Stay:
		return "stay"
	case MoveNow:
		return "move now"
	case MoveBack:
		return "move back"
	}
	return "action(" + strconv.Itoa(int(a)) + ")"
}

// Decision says where an agent's sessions belong.
type Decision struct {
	Action  Action
	Parent  Relay // zero if the action is Wait
	Standby Relay // the warm second session's relay; zero if there is no other live relay
}

// PolicyOptions configure a [Policy].
type PolicyOptions struct {
	Key     string   // the agent's name; what is hashed
	Regions []string // its own first, then fallback regions in order

	// HoldDown is how long a better relay must have been live before agents
	// go back to it: a relay that restarts again and again is left alone.
	HoldDown time.Duration
	// Spread is the span over which agents move once a better relay has
	// proved stable, each at its own moment in it.
	Spread time.Duration
}

// DefaultPolicyOptions returns the options of an agent that has only one
// region; the key and the region are the caller's.
func DefaultPolicyOptions(key, region string) PolicyOptions {
	return PolicyOptions{
		Key:      key,
		Regions:  []string{region},
		HoldDown: 30 * time.Second,
		Spread:   30 * time.Second,
	}
}

// maxDwell bounds HoldDown and Spread: beyond it an agent would in practice
// never go home.
const maxDwell = time.Hour

func (o PolicyOptions) validate() error {
	var faults []error
	if o.Key == "" {
		faults = append(faults, errors.New("key is empty: set it to the agent's name"))
	}
	if len(o.Regions) == 0 {
		faults = append(faults, errors.New("regions are empty: name at least the agent's own"))
	}
	if o.HoldDown < 0 || o.HoldDown > maxDwell {
		faults = append(faults, fmt.Errorf("hold-down %v is outside 0 to %v", o.HoldDown, maxDwell))
	}
	if o.Spread < 0 || o.Spread > maxDwell {
		faults = append(faults, fmt.Errorf("spread %v is outside 0 to %v", o.Spread, maxDwell))
	}
	return errors.Join(faults...)
}

// Policy chooses an agent's parent and standby. It leaves a dead parent at
// once, for the standby if that is live, and goes back to a better relay only
// after [PolicyOptions.HoldDown] and its own moment within the spread. It is a
// pure state machine: the caller passes the time, which must not go back.
// Not safe for concurrent use.
type Policy struct {
	opts    PolicyOptions
	parent  string // node name; empty if there is none
	standby string // node name, never the parent's; empty if there is none

	betterParent  wish
	betterStandby wish
}

// NewPolicy returns a policy without a parent.
func NewPolicy(opts PolicyOptions) (*Policy, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("placement policy: %w", err)
	}
	return &Policy{opts: opts}, nil
}

// SetParent tells the policy that the agent's parent is another relay than the
// last decision said: a relay redirected it.
func (p *Policy) SetParent(node string) {
	p.parent = node
	if p.standby == node {
		p.standby = ""
	}
	p.betterParent, p.betterStandby = wish{}, wish{}
}

// Step decides for the time now. It takes each decision as carried out; if a
// relay turns out to be unreachable, the caller steps again with that relay
// not live. Relays that candidates do not name are not live.
func (p *Policy) Step(now time.Time, candidates []Candidate) Decision {
	live := make(map[string]Candidate, len(candidates)) // looked up only: its order cannot matter
	relays := make([]Relay, 0, len(candidates))
	for _, c := range candidates {
		if c.LiveSince.IsZero() {
			continue
		}
		// A full relay keeps the children it has.
		c.Full = c.Full && c.Node != p.parent && c.Node != p.standby
		live[c.Node] = c
		relays = append(relays, c.Relay)
	}
	view := view{
		ranked: RankRegions(p.opts.Key, p.opts.Regions, relays),
		live:   live,
		stable: func(r Relay) bool { return now.Sub(live[r.Node].LiveSince) >= p.opts.HoldDown },
	}

	d := p.stepParent(now, view)
	if d.Action == Wait {
		p.standby = ""
		return d
	}
	d.Standby = p.stepStandby(now, view)
	return d
}

// view is what one step sees.
type view struct {
	ranked []Relay // live relays that take agents, best first
	live   map[string]Candidate
	stable func(Relay) bool // live for at least the hold-down
}

// first returns the first ranked relay that is acceptable.
func (v view) first(acceptable func(Relay) bool) (Relay, bool) {
	for _, r := range v.ranked {
		if acceptable(r) {
			return r, true
		}
	}
	return Relay{}, false
}

func (p *Policy) stepParent(now time.Time, v view) Decision {
	current, ok := v.live[p.parent]
	if p.parent == "" || !ok {
		return p.replaceParent(v)
	}
	better, ok := v.first(func(r Relay) bool { return r.Node == p.parent || v.stable(r) })
	if !ok || better.Node == p.parent {
		p.betterParent = wish{}
		return Decision{Action: Stay, Parent: current.Relay}
	}
	if !p.betterParent.ripe(better.Node, now, p.moment(better.Node)) {
		return Decision{Action: Stay, Parent: current.Relay}
	}
	p.SetParent(better.Node)
	return Decision{Action: MoveBack, Parent: better}
}

// replaceParent picks the relay that takes over from a dead one: the standby,
// which is warm; else the best that has proved stable; else the best.
func (p *Policy) replaceParent(v view) Decision {
	next, ok := v.first(func(r Relay) bool { return r.Node == p.standby })
	if !ok {
		next, ok = v.first(v.stable)
	}
	if !ok {
		next, ok = v.first(func(Relay) bool { return true })
	}
	if !ok {
		p.SetParent("")
		return Decision{Action: Wait}
	}
	p.SetParent(next.Node)
	return Decision{Action: MoveNow, Parent: next}
}

func (p *Policy) stepStandby(now time.Time, v view) Relay {
	current, ok := v.first(func(r Relay) bool { return r.Node == p.standby })
	if !ok {
		other := func(r Relay) bool { return r.Node != p.parent }
		next, ok := v.first(func(r Relay) bool { return other(r) && v.stable(r) })
		if !ok {
			next, _ = v.first(other)
		}
		p.standby, p.betterStandby = next.Node, wish{}
		return next
	}
	better, _ := v.first(func(r Relay) bool {
		return r.Node == p.standby || r.Node != p.parent && v.stable(r)
	})
	if better.Node == p.standby {
		p.betterStandby = wish{}
		return current
	}
	if !p.betterStandby.ripe(better.Node, now, p.moment(better.Node)) {
		return current
	}
	p.standby, p.betterStandby = better.Node, wish{}
	return better
}

// moment is this agent's own share of the spread before it moves to node.
func (p *Policy) moment(node string) time.Duration {
	if p.opts.Spread == 0 {
		return 0
	}
	return time.Duration(hash(p.opts.Key+" moves to", node) % uint64(p.opts.Spread))
}

// wish is a relay that has been preferred to the present one for some time.
type wish struct {
	node  string
	since time.Time
}

// ripe notes the wish for node and reports whether it has stood for d.
func (w *wish) ripe(node string, now time.Time, d time.Duration) bool {
	if w.node != node {
		*w = wish{node: node, since: now}
	}
	return now.Sub(w.since) >= d
}
