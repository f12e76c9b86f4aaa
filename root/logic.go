//go:build !zos

package root

import (
	"errors"
	"fmt"
	"math"

	"pando/internal/pack"
	"pando/root/consensus"
)

// A logic is what commands do to the state. Its version rises whenever the
// same commands may give another state or other results. The version in force
// is part of the state: every group begins with firstLogic, and an entry
// raises it, which the leader proposes once all members say that they know the
// higher one. So members are upgraded one by one while the group runs, and all
// of them change what they do at the same entry. A member that does not know
// the version in force stops: applying an entry by another logic would make
// its state another one.

// firstLogic is the version with which every group begins.
const firstLogic = 1

// testsLogic is the logic from which on commands tell what tests have learnt.
// Programs that know the one before cannot read that, and would keep another
// state than those that can.
const testsLogic = firstLogic + 1

// ErrLogic reports a logic version that this program does not know. The
// program must be upgraded.
var ErrLogic = errors.New("the group's logic is not known to this program")

// logic applies one command to the state; see [FSM.step].
type logic func(f *FSM, at consensus.At, kind uint8, r *pack.Reader) (result, []Change, error)

// logics are the versions that a program knows, from firstLogic on: entries
// that were made under an older one must be applied under it again.
type logics []logic

// programLogics are those of this program. A new version goes to the end; the
// golden traces of the older ones must stay as they are.
func programLogics() logics { return logics{(*FSM).step, (*FSM).stepMatching} }

// newest is the highest version known.
func (l logics) newest() uint64 { return firstLogic + uint64(len(l)) - 1 }

// check returns an error that wraps [ErrLogic] if the version is not known.
func (l logics) check(version uint64) error {
	if version < firstLogic || version > l.newest() {
		return fmt.Errorf("the group's logic has version %d, this program knows %d to %d: upgrade this root's program: %w",
			version, firstLogic, l.newest(), ErrLogic)
	}
	return nil
}

// dispatch applies a command by the logic in force.
func (f *FSM) dispatch(at consensus.At, kind uint8, r *pack.Reader) (result, []Change, error) {
	if kind == cmdLogic {
		return f.raise(r)
	}
	return f.logics[f.state.logic-firstLogic](f, at, kind, r)
}

// raise puts a higher logic in force. It is the same under every logic, and a
// repetition does nothing.
func (f *FSM) raise(r *pack.Reader) (result, []Change, error) {
	version := r.Uint("logic", math.MaxUint32)
	if err := r.Done(); err != nil {
		f.state.counts.Malformed++
		return result{fault: err.Error()}, nil, nil
	}
	if version <= f.state.logic {
		return result{}, nil, nil
	}
	if err := f.logics.check(version); err != nil {
		return result{}, nil, err
	}
	f.state.logic = version
	return result{}, nil, nil
}

func logicCommand(now int64, version uint64) []byte {
	w := command(cmdLogic, now)
	w.Uint(version)
	return w.Bytes()
}
