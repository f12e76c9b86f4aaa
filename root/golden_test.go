//go:build !zos

package root

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/internal/golden"
	"pando/stream/anomaly"
	"pando/stream/cep/pattern"
	"pando/tree/custody"
	"pando/tree/wire"
)

// TestGolden plays each trace of testdata and compares every word. A trace is
// a list of blocks: commands, a line of dashes, what they print, an empty
// line. The hashes make any other byte on any other machine show.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			golden.Compare(t, filepath.Base(file), []byte(got), "add a logic")
		})
	}
}

// play runs the blocks of a trace and returns it with its outputs anew.
func play(t *testing.T, text string) string {
	s := newStage(t)
	var out strings.Builder
	s.f.hooks.Changed = func(c *Change) {
		fmt.Fprintf(&out, "%s %s %s first %s, %d findings\n", c.ID, c.Kind, c.Into, c.First, c.Findings)
	}
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		fmt.Fprintf(&out, "%s\n----\n", commands)
		for _, line := range strings.Split(commands, "\n") {
			if !strings.HasPrefix(line, "#") {
				s.perform(&out, line)
			}
		}
		out.WriteString("\n")
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// perform runs one command:
//
//	claim RELAY AGENT WAL SESSION OPENED
//	digest RELAY AGENT WAL SESSION FROM TO [rest]
//	finding RELAY NAME ENTITY PEER SECONDS-AGO [ended]
//	logic VERSION | patterns [NAME]... (those that begin with t are twice, others unanswered)
//	pass SECONDS | tick | mark | vote MEMBER | cloned | state
func (s *stage) perform(out *strings.Builder, line string) {
	s.t.Helper()
	f := strings.Fields(line)
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	switch f[0] {
	case "claim":
		a := s.claim(f[1], f[2], event.WALID(number(3)), term(1, number(4)), number(5))
		fmt.Fprintf(out, "granted %v closed %v known %s settled %v\n", a.Granted, a.Closed, a.Known, a.Settled)
	case "digest":
		sec := section(f[1], critical(f[2], event.WALID(number(3))), term(1, number(4)), number(5), number(6),
			event.Position{Source: "log#" + f[3], File: "f", Offset: int64(number(6)) * 100, Replayable: true})
		sec.Head.Rest = len(f) > 7
		j := s.digest(f[1], sec)[0]
		fmt.Fprintf(out, "%s, settled %d\n", j.Verdict, j.Settled)
		if j.Verdict == custody.Apply {
			fmt.Fprintf(out, "chain %x\n", j.Chain[:6])
		}
	case "finding":
		x := finding(f[2], f[3], epoch)
		x.Point = s.now - int64(number(5))*1e9
		x.Onset.Lo, x.Onset.Hi = x.Point-1e6, x.Point+1e6
		x.Peer = f[4]
		if x.Ended = len(f) > 6; x.Ended {
			x.Revision = 2
		}
		s.report(f[1], wire.Findings{ID: 1, Findings: []anomaly.Finding{x}})
	case "logic":
		s.apply(logicCommand(s.now, number(1)))
	case "patterns":
		var list []pattern.Pattern
		for _, name := range f[1:] {
			if name[0] == 't' {
				list = append(list, twice(name, time.Minute, ""))
			} else {
				list = append(list, unanswered(name, 20*time.Second))
			}
		}
		s.exchange(list...)
		for _, p := range s.f.Patterns().Patterns {
			fmt.Fprintf(out, "%s %s: %d runs\n", p.Name, p.Hash, p.Runs)
		}
	case "pass":
		s.pass(float64(number(1)))
	case "tick":
		s.apply(tickCommand(s.now))
	case "mark":
		s.apply(markCommand(s.now, 3))
	case "vote":
		m := s.f.view().mark
		s.apply(voteCommand(s.now, f[1], m.number, m.hash))
	case "cloned":
		fmt.Fprintf(out, "%d cloned\n", s.cloned())
	case "state":
		v := s.f.view()
		sum := s.f.state.sum()
		fmt.Fprintf(out, "%d commands, %d units, %d series, %d edges\n", v.count, v.units.Len(), v.series.Len(), v.edges)
		for _, p := range s.f.Patterns().Patterns {
			fmt.Fprintf(out, "%s: %d runs, %d matched\n", p.Name, p.Runs, p.Matched)
		}
		fmt.Fprintf(out, "results %x state %x snapshot %x\n", v.output[:8], sum[:8], sha256.Sum256(snapshot(s.t, s.f)))
	default:
		s.t.Fatalf("unknown command %q", line)
	}
}
