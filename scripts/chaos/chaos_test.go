//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestDifference(t *testing.T) {
	for name, c := range map[string]struct {
		written       uint64
		held          tally
		lost, doubled uint64
	}{
		"exact":            {4, tally{Count: 4, SumExact: "10"}, 0, 0},
		"nothing":          {0, tally{}, 0, 0},
		"lost":             {4, tally{Count: 3, SumExact: "6"}, 1, 0},
		"doubled":          {4, tally{Count: 6, SumExact: "17"}, 0, 2},
		"one for another":  {4, tally{Count: 4, SumExact: "9"}, 1, 1},
		"more than 32 bit": {1 << 33, tally{Count: 1 << 33, SumExact: "36893488151714070528"}, 0, 0},
	} {
		if lost, doubled := difference(c.written, c.held); lost != c.lost || doubled != c.doubled {
			t.Errorf("%s: lost %d doubled %d, want %d and %d", name, lost, doubled, c.lost, c.doubled)
		}
	}
}

func TestOptions(t *testing.T) {
	for args, says := range map[string]string{
		"":                       "--pando is missing",
		"--pando x --for 1s":     "10s or more",
		"--pando x -o yaml":      "table or json",
		"--pando x --only flood": "leader-kill",
		"--pando x more":         "no flag",
		"--pando x --seed 7":     "",
		"--pando x --only " + "relay-loss,clock-jump": "",
	} {
		var said bytes.Buffer
		o, err := parse(strings.Fields(args), &said)
		if (err == nil) != (says == "") || !strings.Contains(said.String(), says) {
			t.Errorf("%q: %v, %q; want %q", args, err, said.String(), says)
		}
		if err == nil && o.seed == 0 {
			t.Errorf("%q: no seed was drawn", args)
		}
	}
}

// What does not hold must be seen in both formats, and in Holds.
func TestResult(t *testing.T) {
	r := newResult(options{seed: 9, length: time.Minute})
	r.add("relay-loss", 5*time.Second, []time.Duration{time.Second, 3 * time.Second, 2 * time.Second})
	r.addLines(kindBulk, 10, 1, 0)
	r.fault("%s is broken", "it")
	var table, doc bytes.Buffer
	if err := r.print(&table, "table"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"relay-loss", "2.00", "3.00", "lost 1 doubled 0", "VIOLATED: it is broken", "1 invariants do not hold"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in\n%s", want, table.String())
		}
	}
	if err := r.print(&doc, "json"); err != nil {
		t.Fatal(err)
	}
	var back result
	if err := json.NewDecoder(io.Reader(&doc)).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if back.Holds || back.Lost != 1 || len(back.Faults) != 1 || back.Faults[0].P50 != 2 {
		t.Errorf("%+v", back.Faults)
	}
}

// Every node has an address and a configuration of its own.
func TestPlaces(t *testing.T) {
	addrs := map[string]bool{}
	roles := map[string]int{}
	for _, p := range places() {
		if addrs[p.addr] || p.config() == "" {
			t.Errorf("%s: address %s is taken, or it has no configuration", p.name, p.addr)
		}
		addrs[p.addr] = true
		roles[p.role]++
	}
	if roles[roleRoot] != 3 || roles[roleRelay] != 4 || roles[roleAgent] != 8 {
		t.Errorf("%v", roles)
	}
}

func TestWatchSeesAReadThatGoesBack(t *testing.T) {
	var faults []string
	w := newWatch(nil, func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) })
	began := time.Now()
	none := w.all()
	w.take("root1", began, none, []tally{{Entity: "a", Count: 7}})
	w.take("root2", began, none, []tally{{Entity: "a", Count: 5}}) // both were asked at once
	if len(faults) > 0 || w.count("a") != 7 {
		t.Errorf("%d lines, faults %q", w.count("a"), faults)
	}
	w.take("root2", began.Add(1), w.all(), []tally{{Entity: "a", Count: 6}})
	if len(faults) != 1 || !strings.Contains(faults[0], "root2") {
		t.Errorf("faults %q, want one about root2", faults)
	}
	if w.servedAfter(began.Add(1)) || !w.servedAfter(began) {
		t.Error("the newest read is not the one that began last")
	}
}

func TestAlarmingLines(t *testing.T) {
	robbed := map[string]bool{"fra-agent2": true}
	for line, want := range map[string]bool{
		"INFO started node=fra/fra-relay1":                                                   false,
		"panic: runtime error node=fra/fra-agent2":                                           true,
		"WARN child refused node=fra/fra-relay1 child=fra/fra-agent2 code=diverged wal=1":    false,
		"WARN child refused node=fra/fra-relay1 child=fra/fra-agent1 code=diverged wal=1":    true,
		"WARN child refused node=fra/fra-relay1 child=fra/fra-agent21 code=diverged wal=1":   true,
		"ERROR content diverged from what is held under the same WAL id node=fra/fra-agent3": true,
	} {
		if got := alarming([]byte(line+"\n"), false, robbed); got != want {
			t.Errorf("%q is alarming: %v", line, got)
		}
	}
}
