package sim

import (
	"fmt"
	"math/rand/v2"

	"pando/agent"
	"pando/event"
)

// plan is what a seed decides before anything runs: the tree, what its sources
// will say, and what will go wrong. The fault-free run that findings are
// compared with has the same plan without the faults.
type plan struct {
	seed   uint64
	large  bool
	roots  int
	relays []place
	agents []agentPlan
	skews  map[string]int64 // wall clocks, by machine
	faults []fault
	quiet  int64 // from when on there are no faults; sources stop at stop
	stop   int64
	limit  int64 // until when everything must be settled
	lines  []line
	stops  map[string]bool // entities that really fall silent
}

// place is a relay: its region, and the relay above it, if any.
type place struct{ name, region, parent string }

type agentPlan struct {
	name, region string
	sources      []sourcePlan
	policy       [event.Lanes]agent.Policy
}

// sourcePlan is a file, which can be read again, or a listener, which cannot.
type sourcePlan struct {
	name  string
	file  bool
	lines []int // into plan.lines, by time
}

// line is something that a source says once.
type line struct {
	at       int64 // since the beginning
	origin   string
	source   string
	entity   string
	signal   string
	severity event.Severity
	critical bool
	value    float64 // unlike any other line's, and odd enough that sums tell
}

// newPlan draws a plan.
func newPlan(seed uint64, large bool) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &plan{seed: seed, large: large, skews: map[string]int64{}, stops: map[string]bool{}}
	p.drawTree(r)
	busy := between(r, 8*second, 16*second)
	if large {
		busy = 6 * second
	}
	p.quiet = busy
	p.stop = busy + 3*second
	p.limit = p.stop + 90*second
	p.drawInput(r)
	p.drawFaults(r)
	return p
}

// calm is the plan without its faults.
func (p *plan) calm() *plan {
	c := *p
	c.faults = nil
	return &c
}

func (p *plan) drawTree(r *rand.Rand) {
	p.roots = 1 + 2*r.IntN(2)
	regions, relays, agents := 1+r.IntN(2), 2+r.IntN(2), 2+r.IntN(3)
	if p.large {
		p.roots, regions, relays, agents = 3, 5, 45, 2000
	}
	middle := p.large || chance(r, 3)
	for g := range regions {
		region := fmt.Sprintf("r%d", g)
		if middle {
			p.relays = append(p.relays, place{name: region + "/middle", region: region})
		}
	}
	for i := range relays {
		region := fmt.Sprintf("r%d", i%regions)
		at := place{name: fmt.Sprintf("%s/relay%d", region, i), region: region}
		if middle && (p.large || i < 2) {
			at.parent = region + "/middle"
		}
		p.relays = append(p.relays, at)
	}
	for i := range agents {
		region := fmt.Sprintf("r%d", i%regions)
		a := agentPlan{name: fmt.Sprintf("%s/agent%d", region, i), region: region}
		for l := range a.policy {
			a.policy[l] = agent.Block
			if chance(r, 3) {
				a.policy[l] = agent.DropNewest
			}
		}
		p.agents = append(p.agents, a)
	}
	p.drawSkews(r)
}

// drawSkews sets the wall clocks: most are off by little, some by minutes.
func (p *plan) drawSkews(r *rand.Rand) {
	skew := func(name string) {
		p.skews[name] = between(r, -50*millisecond, 50*millisecond)
		if chance(r, 3) {
			p.skews[name] = between(r, -240*second, 240*second)
		}
	}
	for i := range p.roots {
		skew(rootName(i))
	}
	for _, x := range p.relays {
		skew(x.name)
	}
	for _, x := range p.agents {
		skew(x.name)
	}
}

func rootName(i int) string { return fmt.Sprintf("core/root%d", i) }

// drawInput decides what the sources say: steady speakers that must not be
// taken for silent, one that really stops, a burst that a rule finds, a code
// that is new.
func (p *plan) drawInput(r *rand.Rand) {
	for i := range p.agents {
		a := &p.agents[i]
		a.sources = []sourcePlan{{name: "app", file: true}, {name: "net"}}
		if p.large {
			p.say(r, a, 0, "job0", between(r, 0, second), 2*second)
			continue
		}
		p.say(r, a, 0, "job0", between(r, 0, second), 400*millisecond)
		p.say(r, a, 0, "job1", between(r, 0, second), 700*millisecond)
		p.say(r, a, 1, "dev0", between(r, 0, second), 500*millisecond)
		if chance(r, 3) {
			p.burst(r, a)
		}
	}
	for i := range p.agents {
		p.sort(&p.agents[i])
	}
}

// say lets an entity speak at a steady pace to the end.
func (p *plan) say(r *rand.Rand, a *agentPlan, source int, job string, from, pace int64) {
	end := p.stop
	if !p.large && chance(r, 8) {
		end = p.stop * 2 / 3
		p.stops[a.name+"/"+job] = true
	}
	for at := from; at < end; at += pace + between(r, -pace/8, pace/8) {
		sev := event.SeverityInfo
		signal := "note"
		if a.sources[source].file && !ambiguous(at) && chance(r, 12) { // a listener may miss the first
			sev, signal = event.SeverityWarn, fmt.Sprintf("warn.%d", r.IntN(3))
		}
		// A code keeps to one lane: which of two lanes is seen first is nobody's
		// promise.
		urgent := chance(r, 3)
		if sev == event.SeverityWarn {
			urgent = signal == "warn.0"
		}
		p.add(r, a, source, line{at: at, entity: a.name + "/" + job, signal: signal, severity: sev, critical: urgent})
	}
}

// ambiguous reports whether an agent's codes are still being learnt at that
// time is a matter of milliseconds, which clocks decide.
func ambiguous(at int64) bool { return at > 4*second && at < 5500*millisecond }

// burstCode is said in bursts, and by nobody else.
const burstCode = "http.503"

// burst is errors that a rule must find, wherever they are stepped.
func (p *plan) burst(r *rand.Rand, a *agentPlan) {
	at := between(r, 2*second, p.stop-second)
	if ambiguous(at) || ambiguous(at+12*10*millisecond) {
		at += 2 * second
	}
	for range 12 {
		p.add(r, a, 0, line{at: at, entity: a.name + "/job9", signal: burstCode, severity: event.SeverityError, critical: true})
		at += between(r, 0, 10*millisecond)
	}
}

func (p *plan) add(r *rand.Rand, a *agentPlan, source int, l line) {
	l.origin, l.source = a.name, a.sources[source].name
	l.value = float64(r.Int64N(1<<30)<<14 | int64(len(p.lines))&(1<<14-1))
	if p.large {
		l.value = float64(r.Int64N(1<<24)<<20 | int64(len(p.lines))&(1<<20-1))
	}
	a.sources[source].lines = append(a.sources[source].lines, len(p.lines))
	p.lines = append(p.lines, l)
}

// sort puts each source's lines into the order of their times.
func (p *plan) sort(a *agentPlan) {
	for s := range a.sources {
		sortByTime(a.sources[s].lines, p.lines)
	}
}
