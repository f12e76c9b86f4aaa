package anomaly

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
)

// TestGolden plays each trace of testdata and compares every word. A trace is
// a list of blocks: commands, a line of dashes, what they print, an empty
// line. The state's hash makes any other byte on any other machine show.
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
			golden.Compare(t, filepath.Base(file), []byte(got), "raise logicVersion")
		})
	}
}

// play runs the blocks of a trace and returns it with its outputs anew.
func play(t *testing.T, text string) string {
	s := newStage(quick())
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		fmt.Fprintf(&out, "%s\n----\n", commands)
		for _, line := range strings.Split(commands, "\n") {
			if !strings.HasPrefix(line, "#") {
				perform(t, s, &out, line)
			}
		}
		for _, f := range s.told {
			fmt.Fprintln(&out, describe(f))
		}
		s.told = nil
		out.WriteString("\n")
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// perform runs one command:
//
//	join HOST RELAY | claim HOST | leave HOST | disk HOST WAL
//	speak HOST SOURCE ENTITY SIGNAL SEVERITY EVERY | hush ENTITY
//	say HOST SOURCE ENTITY SIGNAL SEVERITY [TIMES]
//	source HOST SOURCE STATE | value NUMBER | pass DURATION | state RELAY
func perform(t *testing.T, s *stage, out *strings.Builder, line string) {
	f := strings.Fields(line)
	span := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return d
	}
	switch f[0] {
	case "join":
		s.join(f[1], f[2])
	case "claim":
		s.claim(f[1])
	case "leave":
		s.leave(f[1])
	case "disk":
		wal, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s.host(f[1]).wal, s.host(f[1]).seq = event.WALID(wal), [event.Lanes]uint64{}
	case "speak":
		s.speaks(f[1], f[2], f[3], f[4], severity(t, f[5]), span(f[6]))
	case "hush":
		for _, v := range s.voices {
			v.on = v.on && v.entity != f[1]
		}
	case "say":
		times := 1
		if len(f) > 6 {
			times, _ = strconv.Atoi(f[6])
		}
		for range times {
			s.say(f[1], f[2], f[3], f[4], severity(t, f[5]), 0)
		}
	case "source":
		s.host(f[1]).sources[f[2]] = f[3]
	case "value":
		v, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s.value = v
	case "pass":
		s.pass(span(f[1]))
	case "state":
		z := s.relay(f[1]).Size()
		fmt.Fprintf(out, "%s: %d speakers, %d expected, %d unobserved, %d silent, %d codes, %d windows, %d tests, %d changed; sha256 %.16x\n",
			f[1], z.Speakers, z.Expected, z.Unobserved, z.Silent, z.Codes, z.Windows, z.Tests, z.Changed, sha256.Sum256(snapshotOf(s.relay(f[1]))))
	default:
		t.Fatalf("%s: unknown command", line)
	}
}

func severity(t *testing.T, word string) event.Severity {
	var l Level
	if err := l.UnmarshalText([]byte(word)); err != nil {
		t.Fatal(err)
	}
	return event.Severity(l)
}

func describe(f told) string {
	since := func(ns int64) string { return time.Duration(ns - dawn).String() }
	state := ""
	if f.Provisional {
		state = " provisional"
	}
	if f.Ended {
		state += " ended"
	}
	name := f.Detector
	if f.Rule != "" {
		name += " " + f.Rule
	}
	return fmt.Sprintf("%s: %.4x/%d %s%s: %s %s onset %s..%s at %s, decided %s, said %s, score %d: %s (%s)",
		f.relay, f.ID[:], f.Revision, name, state, f.Class, strings.TrimSpace(f.Series.String()),
		since(f.Onset.Lo), since(f.Onset.Hi), since(f.Point), since(f.Decided), since(f.Detected), f.Score,
		f.Summary, f.Baseline)
}
