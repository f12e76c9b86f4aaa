//go:build !zos

// Package consensus runs one member of a Raft group and knows nothing of what
// the entries mean. It gives its caller four things on top of
// hashicorp/raft:
//
//   - [Node.Propose] packs the commands of many callers into one Raft entry,
//     and says exactly what is known of a command that did not return a
//     result: not submitted ([ErrNotLeader], [ErrBusy], [ErrStopped],
//     a context error alone) or unknown ([ErrIndeterminate]).
//   - [Node.Linearizable] tells when the local state machine may be read
//     without missing anything that was acknowledged before the call.
//   - Bootstrap with the same command line at the first start and at every
//     restart (rqlite's bootstrap-expect).
//   - A failing disk or state machine ends the process instead of being
//     logged: Run closes the transport at once, so that this node's
//     heartbeats stop and another one leads, and returns the error.
//
// It assumes that member ids are stable and differ from addresses, that a
// member never comes back with an emptied folder under its old id (it would
// forget its vote and the entries it acknowledged), and that the state
// machine deduplicates commands that were submitted again.
//
// The log is the project's write-ahead log or raft-boltdb, by a setting; term
// and vote are always in raft-boltdb.
package consensus

import (
	"errors"
	"fmt"
	"io"
)

// Bounds of the package.
const (
	// MaxEntry is the most bytes of one Raft entry. Larger entries hold up
	// the ones behind them on the disk and on the wire.
	MaxEntry = 512 << 10
	// MaxCommand is the most bytes of one command: what fits an entry beside
	// its framing.
	MaxCommand = MaxEntry - 64
	// MaxCommands is the most commands in one entry.
	MaxCommands = 16384
)

var (
	// ErrNotLeader reports a call that only the leader serves. The error in
	// the chain is a [*NotLeaderError], which names the leader if it is
	// known. Nothing was submitted.
	ErrNotLeader = errors.New("not the leader")
	// ErrIndeterminate reports a command whose outcome is unknown: it was
	// submitted, and leadership or the process was lost before the result
	// came. The caller submits the same command again.
	ErrIndeterminate = errors.New("outcome unknown")
	// ErrBusy reports that too many commands wait. Nothing was submitted.
	ErrBusy = errors.New("too many commands waiting")
	// ErrTooLarge reports a command above [MaxCommand] bytes.
	ErrTooLarge = errors.New("command too large")
	// ErrStopped reports a node that does not run. Nothing was submitted.
	ErrStopped = errors.New("node is not running")
	// ErrFatal is wrapped by what Run returns when the disk or the state
	// machine failed; the process must exit.
	ErrFatal = errors.New("raft member failed")
)

// NotLeaderError names the leader, as far as this node knows it; both fields
// are empty while there is none.
type NotLeaderError struct{ ID, Addr string }

func (e *NotLeaderError) Error() string {
	if e.ID == "" {
		return "not the leader, and no leader is known: retry after an election"
	}
	return fmt.Sprintf("not the leader: ask %s at %s", e.ID, e.Addr)
}

func (e *NotLeaderError) Unwrap() error { return ErrNotLeader }

// At is the place of a command in the replicated log: the same on every
// member, rising, and never used twice.
type At struct {
	Index uint64 // of the Raft entry; entries without commands leave gaps
	Term  uint64
	Item  int // position in the entry, from 0
	Items int // commands in the entry
}

// FSM is the replicated state machine. All its methods are called from one
// goroutine at a time.
type FSM interface {
	// Apply changes the state by one committed command. It must be
	// deterministic: the same commands at the same places give the same
	// state and results on every member. The result goes to the proposer, if
	// it waits at this node. cmd is shared and must not be changed; what is
	// kept of it is copied. An error, or a panic, is fatal to the process: it
	// means that this member cannot apply what a quorum has committed. A
	// command that is merely refused has a result that says so.
	Apply(at At, cmd []byte) (result any, err error)

	// Freeze returns the state as it is now, in time independent of its size.
	// Its WriteTo runs in another goroutine while Apply goes on. It may be
	// dropped without being written.
	Freeze() io.WriterTo

	// Restore replaces the state by what WriteTo wrote. The reader's bytes
	// come from this member's disk or from the leader.
	Restore(io.Reader) error
}

// Server is a member of the group.
type Server struct {
	ID   string `json:"id"`      // stable for the life of the member
	Addr string `json:"address"` // host:port of its Raft listener
}
