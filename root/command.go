//go:build !zos

package root

import (
	"fmt"

	"pando/event"
	"pando/internal/pack"
	"pando/root/consensus"
	"pando/tree/wire"
)

// Kinds of commands in the Raft log. They are never renumbered.
//
// A command is: kind, version, root time as the leader stamped it, and then,
// by kind:
//
//	claim     relay, a wire.Claim
//	digest    relay, array of encoded sections
//	findings  relay, a wire.Findings
//	tick      nothing
//	node      name, role, region, address
//	mark      number of voting members
//	vote      member, number of the mark, its hash of the state there
//	server    name, Raft address, transport address, API of a root
//	forget    name of a root that is a member no more
//	logic     version that is in force from the next command on
//	restored  nothing; the state before it is that of an earlier snapshot
//	patterns  version of the set that it follows, set (see cep.Set.Append)
const (
	cmdClaim uint8 = iota + 1
	cmdDigest
	cmdFindings
	cmdTick
	cmdNode
	cmdMark
	cmdVote
	cmdServer
	cmdForget
	cmdLogic
	cmdRestored
	cmdPatterns
)

// commandVersion is the format of all commands.
const commandVersion = 1

const (
	// maxName bounds names of nodes and their addresses in commands.
	maxName = 256
	// maxPayload is the most bytes of telemetry in one command; the rest is
	// for the command's own fields.
	maxPayload = consensus.MaxCommand - 4096
	// maxSections bounds the sections of one command.
	maxSections = 4096
	// maxMembers bounds the members that vote on a mark, as the group itself
	// is bounded.
	maxMembers = 9
)

// command starts a command.
func command(kind uint8, now int64) *pack.Writer {
	w := pack.NewWriter()
	w.Uint(uint64(kind))
	w.Uint(commandVersion)
	w.Int(now)
	return w
}

func claimCommand(now int64, relay string, m *wire.Claim) []byte {
	w := command(cmdClaim, now)
	w.String(relay)
	w.Bin(wire.Encode(m).Body)
	return w.Bytes()
}

func digestCommand(now int64, relay string, sections [][]byte) []byte {
	w := command(cmdDigest, now)
	w.String(relay)
	w.Array(len(sections))
	for _, s := range sections {
		w.Bin(s)
	}
	return w.Bytes()
}

func findingsCommand(now int64, relay string, m *wire.Findings) []byte {
	w := command(cmdFindings, now)
	w.String(relay)
	w.Bin(wire.Encode(m).Body)
	return w.Bytes()
}

func tickCommand(now int64) []byte { return command(cmdTick, now).Bytes() }

func nodeCommand(now int64, m member) []byte {
	w := command(cmdNode, now)
	w.String(m.name)
	w.String(m.role)
	w.String(m.region)
	w.String(m.addr)
	return w.Bytes()
}

func markCommand(now int64, members int) []byte {
	w := command(cmdMark, now)
	w.Uint(uint64(members))
	return w.Bytes()
}

func voteCommand(now int64, name string, number uint64, hash event.Hash) []byte {
	w := command(cmdVote, now)
	w.String(name)
	w.Uint(number)
	w.Bin(hash[:])
	return w.Bytes()
}

// readCommand reads what all commands start with. Its errors are final: this
// member cannot apply what a quorum has committed.
func readCommand(r *pack.Reader) (kind uint8, now int64, err error) {
	kind = uint8(r.Uint("kind", 255))
	version := r.Uint("version", 1<<32)
	now = r.Int("now")
	switch {
	case r.Err() != nil:
		return 0, 0, fmt.Errorf("command: %w", r.Err())
	case version != commandVersion || kind < cmdClaim || kind > cmdPatterns:
		return 0, 0, fmt.Errorf("command of kind %d, version %d is unknown here: a newer member leads; upgrade this root's program: %w", kind, version, ErrLogic)
	}
	return kind, now, nil
}
