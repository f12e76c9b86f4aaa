//go:build !zos

package consensus

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// applier puts the caller's [FSM] under Raft. After the first failure it
// applies, freezes and restores nothing more: Raft would go on with the next
// entry, and the state would differ from the other members'.
type applier struct {
	fsm    FSM
	fail   func(error)
	failed error // owned by Raft's state machine goroutine

	// restored tells the configuration of the snapshot that was just restored.
	restored func() (uint64, raft.Configuration)
	group    atomic.Pointer[Group] // newest committed configuration

	applied atomic.Uint64 // index of the last entry whose effect is in the state
	moved   chan struct{} // capacity 1: applied has risen
}

var _ raft.BatchingFSM = (*applier)(nil)

func newApplier(fsm FSM, fail func(error)) *applier {
	return &applier{fsm: fsm, fail: fail, moved: make(chan struct{}, 1)}
}

// Apply implements [raft.FSM].
func (a *applier) Apply(l *raft.Log) any { return a.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements [raft.BatchingFSM]. Its results are, entry by entry,
// nil for a configuration, []any for commands, or the error that stopped the
// state machine.
func (a *applier) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogCommand && a.failed == nil {
			response, err := a.applyEntry(l)
			if err != nil {
				a.stop(fmt.Errorf("apply entry %d of term %d: %w", l.Index, l.Term, err))
			} else {
				results[i] = response
			}
		}
		if a.failed != nil {
			results[i] = a.failed
			continue
		}
		if l.Type == raft.LogConfiguration {
			a.group.Store(groupOf(l.Index, raft.DecodeConfiguration(l.Data)))
		}
		a.reached(l.Index)
	}
	return results
}

func (a *applier) applyEntry(l *raft.Log) (results []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("state machine panicked: %v\n%s", p, debug.Stack())
		}
	}()
	cmds, err := unpackEntry(l.Data)
	if err != nil {
		return nil, err
	}
	results = make([]any, len(cmds))
	at := At{Index: l.Index, Term: l.Term, Items: len(cmds)}
	for i, cmd := range cmds {
		at.Item = i
		if results[i], err = a.fsm.Apply(at, cmd); err != nil {
			return nil, fmt.Errorf("command %d: %w", i, err)
		}
	}
	return results, nil
}

// reached records that the state covers index.
func (a *applier) reached(index uint64) {
	for {
		old := a.applied.Load()
		if index <= old || a.applied.CompareAndSwap(old, index) {
			break
		}
	}
	select {
	case a.moved <- struct{}{}:
	default:
	}
}

func (a *applier) stop(err error) {
	a.failed = err
	a.fail(err)
}

// Snapshot implements [raft.FSM].
func (a *applier) Snapshot() (_ raft.FSMSnapshot, err error) {
	if a.failed != nil {
		return nil, a.failed
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("freeze: state machine panicked: %v\n%s", p, debug.Stack())
			a.stop(err)
		}
	}()
	return frozen{a.fsm.Freeze()}, nil
}

// Restore implements [raft.FSM]. A failure is final: Raft would fall back to
// an older snapshot, whose log may be gone.
func (a *applier) Restore(r io.ReadCloser) (err error) {
	if a.failed != nil {
		return a.failed
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("state machine panicked: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			err = fmt.Errorf("restore snapshot: %w", err)
			a.stop(err)
		}
	}()
	if err := a.fsm.Restore(r); err != nil {
		return err
	}
	if a.restored != nil {
		if index, c := a.restored(); index > 0 {
			a.group.Store(groupOf(index, c))
		}
	}
	return nil
}

// frozen writes a state to Raft's snapshot store.
type frozen struct{ state io.WriterTo }

// Persist implements [raft.FSMSnapshot]. Raft itself closes or cancels sink.
func (f frozen) Persist(sink raft.SnapshotSink) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("write snapshot: state machine panicked: %v\n%s", p, debug.Stack())
		}
	}()
	if _, err := f.state.WriteTo(sink); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Release implements [raft.FSMSnapshot].
func (frozen) Release() {}
