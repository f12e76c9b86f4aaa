//go:build !zos

package root

import (
	"fmt"
	"strings"
	"testing"

	"pando/event"
	"pando/internal/golden"
	"pando/tree/wire"
)

// TestGoldenCommands pins the bytes of each kind of command: they stand in the
// Raft logs of members that run other versions of this program.
func TestGoldenCommands(t *testing.T) {
	const now = 1_700_000_000_000_000_000
	var out strings.Builder
	seen := map[byte]bool{}
	for _, c := range []struct {
		what  string
		bytes []byte
	}{
		{"claim", claimCommand(now, "eu/r1", &wire.Claim{ID: 1, Origin: "eu/a", WAL: 5, Term: term(1, 2), Opened: 3})},
		{"digest", digestCommand(now, "eu/r1", [][]byte{[]byte("section")})},
		{"findings", findingsCommand(now, "eu/r1", &wire.Findings{ID: 2})},
		{"tick", tickCommand(now)},
		{"node", nodeCommand(now, member{name: "eu/r1", role: "relay", region: "eu", addr: "127.0.0.1:1"})},
		{"mark", markCommand(now, 3)},
		{"vote", voteCommand(now, "core/root1", 1024, event.Hash{1, 2})},
		{"server", serverCommand(now, Server{Name: "core/root1", Raft: "127.0.0.1:2", Addr: "127.0.0.1:3", API: "127.0.0.1:4"})},
		{"forget", forgetCommand(now, "core/root1")},
		{"logic", logicCommand(now, 7)},
		{"restored", restoredCommand(now)},
		{"patterns", patternsCommand(now, 17, []byte("set"))},
	} {
		fmt.Fprintf(&out, "%s %x\n", c.what, c.bytes)
		seen[c.bytes[0]] = true
	}
	for kind := cmdClaim; kind <= cmdPatterns; kind++ {
		if !seen[kind] {
			t.Errorf("no command of kind %d is pinned", kind)
		}
	}
	golden.Compare(t, "commands.golden", []byte(out.String()), "raise commandVersion")
}
