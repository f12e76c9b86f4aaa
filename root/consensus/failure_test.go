//go:build !zos

package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pando/root/raftlog"
)

// An entry that a member cannot apply ends that member and nothing else; it
// must not go on with the next entry.
func TestBrokenStateMachineIsFatal(t *testing.T) {
	for name, breaks := range map[string]func(string) error{
		"error": func(string) error { return errors.New("logic version 9 is not known here") },
		"panic": func(string) error { panic("index out of range") },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 3, nil)
			victim := (g.leader() + 1) % 3
			m := g.members[victim]
			m.fsm.mu.Lock()
			m.fsm.breaks = func(cmd string) error {
				if strings.HasPrefix(cmd, "b/") {
					return breaks(cmd)
				}
				return nil
			}
			m.fsm.mu.Unlock()
			g.load("a", 2, 5)
			g.agree(10)
			g.members[victim] = nil
			g.load("b", 2, 5)
			if err := g.result(m); !errors.Is(err, ErrFatal) {
				t.Errorf("run returned %v, want a fatal error", err)
			}
			if m.fsm.sum()[:3] != "10 " {
				t.Errorf("it went on applying: %s", m.fsm.sum())
			}
			g.agree(20)
			g.start(victim, nil) // repaired
			g.agree(20)
		})
	}
}

// stalling is a log store that hangs from the moment it is told to.
type stalling struct {
	raft.LogStore
	from    *atomic.Bool
	release chan struct{}
}

func (s stalling) StoreLogs(logs []*raft.Log) error {
	if s.from.Load() {
		<-s.release
	}
	return s.LogStore.StoreLogs(logs)
}

// A stalled disk takes the leader out of the way although Raft hangs in it.
func TestStalledDiskGivesLeadershipUp(t *testing.T) {
	stalled, release := map[string]*atomic.Bool{}, make(chan struct{})
	defer close(release)
	g := newGroup(t, 3, func(o *Options) {
		from := new(atomic.Bool)
		stalled[o.ID] = from
		o.StallLimit, o.StopTimeout = time.Second, 200*time.Millisecond
		o.disk = func(s raft.LogStore) raft.LogStore { return stalling{s, from, release} }
	})
	lead := g.leader()
	m := g.members[lead]
	stalled[g.servers[lead].ID].Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, _, err := m.node.Propose(ctx, []byte("x")); !errors.Is(err, ErrIndeterminate) {
		t.Errorf("a proposal in the stalled disk: %v", err)
	}
	if err := g.result(m); !errors.Is(err, ErrFatal) || !errors.Is(err, raftlog.ErrStalled) {
		t.Errorf("run: %v", err)
	}
	g.members[lead] = nil
	g.tune = func(o *Options) { o.StopTimeout = time.Second }
	g.load("a", 2, 2)
	g.agree(4)
}

// A damaged snapshot is an error when the log does not reach back to an older
// one: no member starts with a state that has a hole.
func TestDamagedSnapshotRefusesToStart(t *testing.T) {
	for _, snapshots := range []int{1, 2} {
		t.Run(fmt.Sprintf("of %d", snapshots), func(t *testing.T) {
			g := newGroup(t, 1, func(o *Options) { o.TrailingLogs = 1 })
			for n := range snapshots {
				g.load(fmt.Sprint(n), 2, 25)
				if err := g.members[0].node.Snapshot(); err != nil {
					t.Fatal(err)
				}
			}
			g.stop(0)
			damageNewest(t, filepath.Join(g.dir, g.servers[0].ID, "snapshots"))
			g.start(0, nil)
			if err := g.result(g.members[0]); !errors.Is(err, ErrFatal) {
				t.Errorf("run: %v, want a refusal", err)
			}
			g.members[0] = nil
		})
	}
}

// damageNewest flips a bit in the newest snapshot. Their folders' names begin
// with term and index.
func damageNewest(t *testing.T, dir string) {
	t.Helper()
	states, err := filepath.Glob(filepath.Join(dir, "*", "state.bin"))
	if err != nil || len(states) == 0 {
		t.Fatalf("snapshots %v, %v", states, err)
	}
	index := func(path string) (n uint64) {
		if _, err := fmt.Sscanf(filepath.Base(filepath.Dir(path)), "%d-%d-", new(uint64), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	newest := slices.MaxFunc(states, func(a, b string) int { return cmp.Compare(index(a), index(b)) })
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
