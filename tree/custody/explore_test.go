package custody

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var scope = flag.String("scope", "ci", "size of the explored model: ci or large")

// settle runs the fault-free schedule from a state until nothing moves, and
// reports what is still wrong then. Every state that it passes is as good as
// the end, so good states are remembered.
func (m *model) settle(s *state, good map[[2]uint64]bool) string {
	s = s.clone()
	var passed [][2]uint64
	for range 400 {
		k := s.key()
		if good[k] {
			break
		}
		passed = append(passed, k)
		if !m.fair(s) {
			if s.wrong == "" {
				s.wrong = m.unsettled(s)
			}
			break
		}
	}
	if s.wrong == "" && len(passed) == 400 {
		s.wrong = "the fault-free schedule does not come to rest"
	}
	if s.wrong == "" {
		for _, k := range passed {
			good[k] = true
		}
	}
	return s.wrong
}

// fair takes the first step of a fixed order of preference that changes something.
func (m *model) fair(s *state) bool {
	big := *m
	big.messages = 100
	moves := []func() bool{func() bool { return big.agentStart(s) }}
	for r := range int8(relays) {
		moves = append(moves, func() bool { up := s.r[r].up; s.r[r].up = true; return !up })
	}
	moves = append(moves,
		func() bool { return len(s.net) > 0 && big.deliver(s, 0, false) },
		func() bool { return big.agentSync(s) },
		func() bool { return big.relaySync(s, 0) || big.relaySync(s, 1) },
		func() bool { return big.open(s, 0) },
		func() bool { return big.push(s) || big.read(s, 1) },
		func() bool { return big.send(s) || big.vouch(s) || big.ack(s) })
	for r := range int8(relays) {
		for w := range s.wals {
			moves = append(moves,
				func() bool { return big.claim(s, r, w) || big.cut(s, r, w) || big.ask(s, r, w) })
		}
	}
	for _, move := range moves {
		if move() {
			return true
		}
	}
	return false
}

// unsettled says what a state at rest lacks.
func (m *model) unsettled(s *state) string {
	for i := range m.lines {
		if !strings.Contains(s.applied, string(rune(firstLine+i))) {
			return fmt.Sprintf("line %d never settled (applied %v)", firstLine+i, []byte(s.applied))
		}
	}
	for i := range m.pushes {
		if !strings.Contains(s.applied+s.lost, string([]byte{byte(firstPush + i)})) {
			return fmt.Sprintf("syslog line %d never settled though a disk kept it", i)
		}
	}
	if o := s.owner[s.a.d.wal-1]; o.Settled != s.a.out.Last || s.a.out.Settled != s.a.out.Last {
		return fmt.Sprintf("WAL %d ends at %d, root settled %d, agent knows %d", s.a.d.wal, s.a.out.Last, o.Settled, s.a.out.Settled)
	}
	for r := range s.r {
		for w, n := range s.r[r].mem {
			if len(n.Held) > 0 && n.Vouched >= n.Held[0].Last && s.lost == "" {
				return fmt.Sprintf("relay %d still holds %d batches of WAL %d", r, len(n.Held), w+1)
			}
		}
	}
	return ""
}

type visit struct {
	parent [2]uint64
	step   string
}

// explore visits every state within the limits, breadth first, and returns
// the number of states and the first broken invariant with its trace.
func (m *model) explore() (int, string) {
	m.held = map[[2]uint64]map[string]bool{}
	start := m.initial()
	seen := map[[2]uint64]visit{start.key(): {}}
	good := map[[2]uint64]bool{}
	queue := []*state{start}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		k := s.key()
		for _, st := range m.steps(s) {
			if st.fault && (s.faults >= m.faults || m.only != "" && m.only != st.name) {
				continue
			}
			c := s.clone()
			if !st.do(c) {
				continue
			}
			if st.fault {
				c.faults++
			}
			ck := c.key()
			if _, ok := seen[ck]; ok {
				continue
			}
			seen[ck] = visit{k, st.name}
			if c.wrong == "" {
				c.wrong = m.settle(c, good)
			}
			if c.wrong != "" {
				return len(seen), c.wrong + "\n" + trace(seen, ck)
			}
			queue = append(queue, c)
		}
		if len(seen) > m.states {
			return len(seen), ""
		}
	}
	return len(seen), ""
}

func trace(seen map[[2]uint64]visit, k [2]uint64) string {
	var steps []string
	for seen[k].step != "" {
		steps = append(steps, seen[k].step)
		k = seen[k].parent
	}
	slices.Reverse(steps)
	return "  " + strings.Join(steps, "\n  ")
}

// Each scope stresses one part of the protocol; the CI sizes take seconds.
var scopes = map[string]limits{
	"moves and crashes":   {lines: 2, batch: 2, faults: 2, messages: 2, states: 50_000},
	"syslog":              {lines: 1, pushes: 1, batch: 1, faults: 3, messages: 2, states: 50_000},
	"lost disks":          {lines: 1, pushes: 1, batch: 1, faults: 2, messages: 2, disks: true, states: 50_000},
	"rolled-back disks":   {lines: 3, batch: 1, faults: 2, messages: 1, rollbacks: true, states: 50_000},
	"an old disk returns": {lines: 1, batch: 1, faults: 2, messages: 1, disks: true, rollbacks: true, states: 120_000},
}

func TestModel(t *testing.T) {
	for name, l := range scopes {
		t.Run(name, func(t *testing.T) {
			if *scope == "large" {
				l.states, l.faults, l.messages = 3_000_000, l.faults+1, l.messages+1
			}
			m := &model{limits: l}
			n, wrong := m.explore()
			if wrong != "" {
				t.Errorf("after %d states: %s", n, wrong)
			}
			t.Logf("%d states", n)
		})
	}
}

// TestModelSeesFaults puts known faults into the protocol: a model that does
// not see them proves nothing.
func TestModelSeesFaults(t *testing.T) {
	for mut, l := range map[mutation]limits{
		noContiguity:    {lines: 2, batch: 1, faults: 1, messages: 2},
		trimOnDurable:   {lines: 1, batch: 1, faults: 2, messages: 1},
		stepUnvouched:   {lines: 1, pushes: 1, batch: 1, faults: 1, messages: 1},
		resumeElsewhere: {lines: 1, batch: 1, faults: 1, messages: 1},
		dropFenced:      {pushes: 1, faults: 2, messages: 1, disks: true},
		restCountsAll:   {lines: 1, batch: 1, faults: 1, messages: 1, disks: true},
		closedReturns:   {lines: 1, batch: 1, faults: 2, messages: 1, disks: true, rollbacks: true},
		noChain:         {lines: 1, pushes: 1, batch: 1, faults: 1, messages: 1, rollbacks: true, only: "agent rolled back"},
	} {
		t.Run(string(mut), func(t *testing.T) {
			l.states = 400_000
			m := &model{limits: l, mut: mut}
			n, wrong := m.explore()
			if wrong == "" {
				t.Fatalf("not seen in %d states", n)
			}
			t.Logf("seen after %d states: %s", n, wrong)
		})
	}
}
