package custody

import (
	"math/rand/v2"
	"strings"
)

// wander takes random walks through the same states, until it has taken so many
// steps: breadth first does not come to long histories. It returns the number
// of states it was in and the first broken invariant with its walk, which is
// not the shortest.
func (m *model) wander(seed uint64, steps int) (int, string) {
	const depth = 80 // steps of a walk
	rnd := rand.New(rand.NewPCG(seed, 0))
	good := map[[2]uint64]bool{}
	seen := map[[2]uint64]bool{}
	for taken := 0; taken < steps; {
		s := m.initial()
		var walk []string
		budget := rnd.IntN(m.faults + 1)
		for range depth {
			next, name := m.stray(s, rnd, budget)
			taken++
			if next == nil {
				break
			}
			s = next
			walk = append(walk, name)
			k := m.key(s)
			if seen[k] {
				continue
			}
			seen[k] = true
			if s.wrong == "" {
				s.wrong = m.settle(s, good)
			}
			if s.wrong != "" {
				return len(seen), s.wrong + "\n  " + strings.Join(walk, "\n  ")
			}
		}
	}
	return len(seen), ""
}

// stray takes one step, or returns nil if it finds none. One in eight is a
// fault, as long as the budget lasts.
func (m *model) stray(s *state, rnd *rand.Rand, budget int) (*state, string) {
	steps := m.steps(s)
	faulty := s.faults < budget && rnd.IntN(8) == 0
	c := s.clone()
	for _, i := range rnd.Perm(len(steps)) {
		st := &steps[i]
		if st.fault != faulty || !st.do(c) {
			continue
		}
		if st.fault {
			c.faults++
		}
		return c, st.name
	}
	if faulty {
		return s, "no fault"
	}
	return nil, ""
}
