//go:build !zos

package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pando/incident"
	"pando/root"
)

// phase is a part of the scenario as people are told of it.
type phase struct {
	at   time.Duration
	text string
}

func (p Profile) phases() []phase {
	return []phase{
		{0, fmt.Sprintf("ordinary traffic; the detectors learn for %v", p.Learn)},
		{p.Learn * 3 / 4, "noise: reports/nightly-export begins its nightly peak (RPTFLAP on LPARB flaps all the time)"},
		{p.Learn, gateway + " stops getting answers from SWIFTNet: timeouts"},
		{p.Learn + ledgerAfter, "ledger, fraud-check and checkout answer 503; their callers retry, up to ten times the requests"},
		{p.Learn + payrunAfter, "jobs on LPARA and LPARB abend once (S0C7, DFHAC2236) and say nothing any more"},
		{p.Learn + p.Patience + payrunAfter, "the jobs' silence is due to be noticed"},
	}
}

// noteEvery is how often progress is told.
const noteEvery = 200 * time.Millisecond

// narratePhases tells what the scenario does, and how far things are.
func (r *run) narratePhases(ctx context.Context, start time.Time) {
	phases := r.opts.Profile.phases()
	defer r.say.note("")
	for ctx.Err() == nil {
		for len(phases) > 0 && time.Since(start) >= phases[0].at {
			r.say.tell(yellow, "%s", phases[0].text)
			phases = phases[1:]
		}
		r.say.note("%s lines written, %s settled", grouped(r.lines()), grouped(r.settled()))
		wait := noteEvery
		if len(phases) > 0 {
			wait = min(wait, phases[0].at-time.Since(start))
		}
		sleep(ctx, wait)
	}
}

// settled is how many events are counted in the state of the root that is
// furthest.
func (r *run) settled() (most uint64) {
	for _, x := range r.tree.roots {
		units, err := x.Units(context.Background(), true)
		if err != nil {
			continue
		}
		var n uint64
		for _, u := range units {
			n += u.Events
		}
		most = max(most, n)
	}
	return most
}

// grouped writes a number with commas.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (r *run) announceTree() {
	if r.say == nil {
		return
	}
	homes := map[string][]string{}
	for _, l := range r.tree.leaves {
		parent := l.agent.Status().Parent
		homes[parent] = append(homes[parent], l.name)
	}
	r.say.note("")
	r.say.tell(bold, "the tree stands: %d roots, %d relays, %d agents; mTLS, Raft, gossip, WALs with fsync, in %s", roots, len(r.tree.allRelays()), len(r.hosts), r.dir)
	for _, x := range r.tree.relays {
		parent := x.Status().Parent
		homes[parent] = append(homes[parent], x.Name())
	}
	for _, x := range r.tree.allRelays() {
		r.say.tell("", "  %s ◄ %s", x.Name(), strings.Join(homes[x.Name()], ", "))
	}
	r.say.tell("", "  clocks: lpara is %v slow, lparb %v fast; nobody tells the tree", -skewA, skewB)
}

// settleDown bounds how often the root's changes are looked at.
const settleDown = 50 * time.Millisecond

// narrateIncidents follows the root's incidents until ctx ends.
func (r *run) narrateIncidents(ctx context.Context) {
	var from, seq uint64
	told := map[string]bool{}
	for ctx.Err() == nil {
		leader, err := r.tree.leader()
		if err != nil {
			sleep(ctx, settleDown)
			continue
		}
		changes, moved := leader.Changes(from)
		for _, c := range changes {
			if c.Seq <= seq {
				continue
			}
			from, seq = c.Index, c.Seq
			r.tellChange(ctx, leader, &c, told)
		}
		select {
		case <-ctx.Done():
		case <-moved:
			sleep(ctx, settleDown)
		}
	}
}

func (r *run) tellChange(ctx context.Context, leader *root.Root, c *root.Change, told map[string]bool) {
	switch c.Kind {
	case "opened":
		r.say.tell(red+bold, "INCIDENT %s opened: begins at %s", c.ID, c.First)
	case "merged":
		r.say.tell(red, "%s turns out to be part of %s", c.ID, c.Into)
		return
	case "updated":
	default:
		r.say.tell(red, "%s %s", c.ID, c.Kind)
		return
	}
	d, err := leader.Incident(ctx, c.ID, true)
	if err != nil {
		return // it was merged meanwhile, which the next change tells
	}
	for i := range d.Findings {
		f := &d.Findings[i]
		if told[f.ID] {
			continue
		}
		told[f.ID] = true
		if key := f.Entity + " " + aspect(f); !told[key] {
			told[key] = true
			r.say.tell("", "  + %-24s %-26s committed %.0f ms after it was decided", f.Entity, aspect(f), max(0, float64(f.Committed-f.Decided)/1e6))
		}
	}
}

// aspect says what a finding is about, in a word or two. Detectors that speak
// of the same aspect of a component are told of once.
func aspect(f *incident.Line) string {
	switch f.Class {
	case "silence":
		return "fell silent"
	case "load":
		return "retry storm"
	}
	return f.Signal
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// conclude tells the outcome.
func (r *run) conclude() {
	if r.say == nil {
		return
	}
	s := &r.summary
	r.say.note("")
	var b strings.Builder
	line := func(style, format string, args ...any) {
		fmt.Fprintln(&b, r.say.styled(style, fmt.Sprintf(format, args...)))
	}
	line("", "")
	for i := range r.timelines {
		r.timeline(&r.timelines[i], line)
	}
	line(bold, "Account")
	line("", "  lines written %s, accepted by agents %s, settled at the root %s", grouped(s.Events.Lines), grouped(s.Events.Accepted), grouped(s.Events.Settled))
	style := green
	if s.Events.Lost+s.Events.Doubled > 0 {
		style = red
	}
	line(style, "  lost %d, doubled %d; %d of %d units end in the same SHA-256 chain in the agent's log and at the root",
		s.Events.Lost, s.Events.Doubled, s.Events.Chains, s.Events.Units)
	line("", "  event to committed finding: p50 %.1f ms, p99 %.1f ms, max %.1f ms over %d findings", s.Detection.P50, s.Detection.P99, s.Detection.Max, s.Detection.Count)
	line("", "  worst clock: %.0f ms off root time, known to ± %.3f ms", s.Clock.WorstSkew, s.Clock.WorstBound)
	style, word := green, "identical"
	if !s.Replay.Identical {
		style, word = red, "NOT identical"
	}
	line(style, "  replay of %d tiers: %s records, %s hashes compared, %s", s.Replay.Tiers, grouped(uint64(s.Replay.Records)), grouped(uint64(s.Replay.Hashes)), word)
	line("", "  findings about noise, in no incident: %d", s.Noise.Findings)
	if r.opts.Keep != "" {
		line(dim, "  data is kept in %s; try %s replay %s", r.dir, r.opts.Command, r.tree.path("relay", "relay1"))
	}
	r.say.raw(strings.TrimRight(b.String(), "\n"))
}

// timeline shows an incident in causal order, with times from its onset on.
func (r *run) timeline(d *incident.Detail, line func(style, format string, args ...any)) {
	line(bold, "%s: first %s, %d findings, %d components", d.ID, d.First, len(d.Findings), len(d.Entities))
	if len(d.Findings) == 0 {
		return
	}
	zero := d.Findings[0].Point
	seen := map[string]bool{}
	for i := range d.Findings {
		f := &d.Findings[i]
		key := f.Entity + " " + aspect(f)
		if seen[key] {
			continue
		}
		seen[key] = true
		relation := f.Relation
		if i == 0 {
			relation = "onset"
		}
		line("", "  %+7.3f s ± %5.1f ms  %-10s  %-24s %-12s %s", float64(f.Point-zero)/1e9, float64(f.Onset.Hi-f.Onset.Lo)/2e6,
			relation, f.Entity, aspect(f), f.Summary)
	}
	line(dim, "  By LPARA's own clock its abends came %.0f s before the gateway's first timeout.", (-skewA - payrunAfter).Seconds())
	line("", "")
}
