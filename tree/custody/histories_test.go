package custody

import (
	"strings"
	"testing"
)

// play takes the named steps, and the fault-free schedule from each state on.
func (m *model) play(t *testing.T, history string) string {
	t.Helper()
	s, good := m.initial(), map[[2]uint64]bool{}
	for _, name := range strings.Split(strings.TrimSpace(history), "\n") {
		name, taken := strings.TrimSpace(name), false
		for _, st := range m.steps(s) {
			if taken = st.name == name && st.do(s); taken {
				break
			}
		}
		if !taken {
			t.Fatalf("%q is no step here", name)
		}
		if s.wrong == "" {
			s.wrong = m.settle(s, good)
		}
		if s.wrong != "" {
			return name + ": " + s.wrong
		}
	}
	return ""
}

// An agent whose disk was lost opens its new WAL id at relay 0, which has no
// root, and then at relay 1, which starts it. The root is restored from before:
// it takes what relay 0 holds of the old WAL id, and the late claim of relay 0
// brings the new one into force. Its agent has read a line again that is
// counted by then, so it must not go on with this WAL id.
const startedElsewhere = `
	agent 0 opens at 0
	relay 0 claims 1
	deliver claim of 1 by 0, leg 0
	deliver granted of 1 by 0, leg 1
	snapshot
	agent 0 reads 1 into lane 0
	agent 0 sends of lane 0
	agent 0 loses its disk
	agent 0 starts
	agent 0 opens at 0
	agent 0 gets a push
	agent 0 sends of lane 0
	agent 0 moves
	agent 0 opens at 1
	relay 1 claims 2
	deliver claim of 2 by 1, leg 0
	deliver granted of 2 by 1, leg 1
	agent 0 reads 1 into lane 0
	root restored
	relay 0 cuts lane 0 of 1
	deliver section of 1 by 0, leg 0
	deliver answer of 1 by 0, leg 1
	relay 0 claims 2
	deliver claim of 2 by 0, leg 0
	deliver granted of 2 by 0, leg 1
`

// TestModelPlays plays histories that are too long for the search to come to.
func TestModelPlays(t *testing.T) {
	l := limits{lines: 1, pushes: 1, batch: 1, messages: 2, coarse: true, restores: true, disks: true}
	if wrong := newModel(l, "").play(t, startedElsewhere); wrong != "" {
		t.Error(wrong)
	}
	if newModel(l, unknownStarts).play(t, startedElsewhere) == "" {
		t.Errorf("not seen: %s", unknownStarts)
	}
}
