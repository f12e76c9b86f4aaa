package custody

import (
	"fmt"
	"slices"
	"strings"
)

// settle runs the fault-free schedule from a state until nothing moves, and
// reports what is still wrong then. Every state that it passes is as good as
// the end, so good states are remembered.
func (m *model) settle(s *state, good map[[2]uint64]bool) string {
	const enough = 1000
	s = s.clone()
	var passed [][2]uint64
	for range enough {
		k := m.key(s)
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
	if s.wrong == "" && len(passed) == enough {
		s.wrong = "the fault-free schedule does not come to rest"
	}
	if s.wrong == "" {
		for _, k := range passed {
			good[k] = true
		}
	}
	return s.wrong
}

// unsettled says what a state at rest lacks.
func (m *model) unsettled(s *state) string {
	for a := range m.agents {
		for l := range m.lanes {
			for i := range m.lines {
				if c := m.content(a, l, uint8(i)); !strings.Contains(s.root.applied, string([]byte{c})) && !m.excused(s, c) {
					return fmt.Sprintf("line %d never settled (applied %v)", c, []byte(s.root.applied))
				}
			}
		}
		for i := range m.pushes {
			c := firstPush - firstLine + m.content(a, 0, uint8(i))
			if !strings.Contains(s.root.applied+s.lost, string([]byte{c})) && !m.excused(s, c) {
				return fmt.Sprintf("syslog line %d never settled though a disk kept it", c)
			}
		}
		x := &s.a[a]
		for l := range m.lanes {
			o := s.root.owner[m.unit(x.d.wal, l)]
			if last := x.out[l].Last; o.Settled != last || x.out[l].Settled != last {
				return fmt.Sprintf("WAL %d lane %d ends at %d, root settled %d, agent knows %d", x.d.wal, l, last, o.Settled, x.out[l].Settled)
			}
		}
	}
	for r := range s.r {
		for u := range s.r[r].mem {
			if n := &s.r[r].mem[u]; len(n.Held) > 0 {
				return fmt.Sprintf("relay %d still holds %d batches of unit %d", r, len(n.Held), u)
			}
			if m.middle && s.r[r].flight[u] != 0 {
				return fmt.Sprintf("relay %d waits for %d answers to sections of unit %d", r, s.r[r].flight[u], u)
			}
		}
	}
	if len(s.mid.queue)+len(s.mid.wait) > 0 {
		return "the middle relay still has something in hand"
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
	start := m.initial()
	seen := map[[2]uint64]visit{m.key(start): {}}
	good := map[[2]uint64]bool{}
	queue := []*state{start}
	for len(queue) > 0 {
		s := queue[0]
		queue[0] = nil // the search outgrows memory otherwise
		queue = queue[1:]
		k, c := m.key(s), s.clone()
		for _, st := range m.steps(s) {
			if st.fault && (s.faults >= m.faults || m.only != nil && !slices.Contains(m.only, st.name)) {
				continue
			}
			if !st.do(c) {
				continue
			}
			x := c
			c = s.clone()
			if st.fault {
				x.faults++
			}
			xk := m.key(x)
			if _, ok := seen[xk]; ok {
				continue
			}
			seen[xk] = visit{k, st.name}
			if x.wrong == "" {
				x.wrong = m.settle(x, good)
			}
			if x.wrong != "" {
				return len(seen), x.wrong + "\n" + trace(seen, xk)
			}
			queue = append(queue, x)
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
