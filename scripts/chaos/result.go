//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// result is what a run found; it is the answer of -o json.
type result struct {
	Seed      uint64            `json:"seed"`
	Length    float64           `json:"for_s"`
	Links     string            `json:"links"` // what faults on links were made of
	Faults    []row             `json:"faults"`
	Lines     map[string]*lines `json:"lines"` // by kind of source
	Lost      uint64            `json:"lost"`
	Doubled   uint64            `json:"doubled"`
	Incidents int               `json:"incidents"`
	Ledger    struct {
		Accepted uint64 `json:"accepted"`
		Settled  uint64 `json:"settled"`
		Held     uint64 `json:"held"`
		Dropped  uint64 `json:"dropped"`
		Unknown  uint64 `json:"unknown"`
	} `json:"ledger"`
	Replay struct {
		Nodes   int    `json:"nodes"`
		Records uint64 `json:"records"`
		Hashes  uint64 `json:"hashes"`
	} `json:"replay"`
	Votes    float64    `json:"votes_agreed"` // the most that a root counted between two starts
	Before   usage      `json:"before"`       // all nodes together
	After    usage      `json:"after"`
	Holds    bool       `json:"holds"`
	Violated []string   `json:"violated"` // every invariant that does not hold
	mu       sync.Mutex // guards all of it while nodes run
	strikes  map[string]*strikes
}

// row is a line of the table. Times are seconds from the fault until a line
// that was written after it was settled at the root, one for each source that
// the fault concerned.
type row struct {
	Fault    string  `json:"fault"`
	Injected int     `json:"injected"`
	Lasted   float64 `json:"lasted_s"` // the longest
	Samples  int     `json:"samples"`
	P50      float64 `json:"settled_p50_s"`
	P99      float64 `json:"settled_p99_s"`
	Worst    float64 `json:"settled_max_s"`
	Bar      float64 `json:"bar_p99_s,omitempty"` // what the p99 should stay below
}

// bars are the goals for the p99, in seconds. They are shown and not judged:
// how much a machine has to do beside this is not the product's fault.
func bars() map[string]float64 {
	return map[string]float64{"leader-kill": 3, "leader-host-loss": 3, "relay-loss": 2}
}

type lines struct {
	Sources int    `json:"sources"`
	Written uint64 `json:"written"`
	Lost    uint64 `json:"lost"`
	Doubled uint64 `json:"doubled"`
}

type strikes struct {
	count  int
	lasted time.Duration
	took   []time.Duration
}

func newResult(o options) *result {
	return &result{Seed: o.seed, Length: o.length.Seconds(), Holds: true, Violated: []string{},
		Lines: map[string]*lines{}, strikes: map[string]*strikes{}}
}

// fault notes that an invariant does not hold, and returns how many do not.
func (r *result) fault(format string, args ...any) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Holds = false
	r.Violated = append(r.Violated, fmt.Sprintf(format, args...))
	return len(r.Violated)
}

func (r *result) add(name string, lasted time.Duration, took []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.strikes[name]
	if s == nil {
		s = &strikes{}
		r.strikes[name] = s
	}
	s.count++
	s.lasted = max(s.lasted, lasted)
	s.took = append(s.took, took...)
}

func (r *result) addLines(kind string, written, lost, doubled uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.Lines[kind]
	if l == nil {
		l = &lines{}
		r.Lines[kind] = l
	}
	l.Sources++
	l.Written, l.Lost, l.Doubled = l.Written+written, l.Lost+lost, l.Doubled+doubled
	r.Lost, r.Doubled = r.Lost+lost, r.Doubled+doubled
}

func (r *result) noteVotes(agreed float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Votes = max(r.Votes, agreed)
}

func (r *result) noteResources(before, after map[string]usage) {
	sum := func(all map[string]usage) (total usage) {
		for _, u := range all {
			total.Goroutines, total.Files, total.RSS = total.Goroutines+u.Goroutines, total.Files+u.Files, total.RSS+u.RSS
		}
		return total
	}
	r.Before, r.After = sum(before), sum(after)
}

// rows computes the table.
func (r *result) rows() []row {
	rows := []row{}
	for _, name := range nemesisNames() {
		s := r.strikes[name]
		if s == nil {
			continue
		}
		slices.Sort(s.took)
		at := func(q float64) float64 {
			if len(s.took) == 0 {
				return 0
			}
			return s.took[min(int(q*float64(len(s.took))), len(s.took)-1)].Seconds()
		}
		rows = append(rows, row{name, s.count, s.lasted.Seconds(), len(s.took), at(0.5), at(0.99), at(1), bars()[name]})
	}
	return rows
}

func (r *result) print(w io.Writer, format string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults = r.rows()
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "fault\ttimes\tlasted s\tsettled again: p50 s\tp99 s\tmax s\tbar p99 s\tsamples\t\n")
	for _, f := range r.Faults {
		bar := ""
		if f.Bar > 0 {
			bar = fmt.Sprintf("%.2f", f.Bar)
		}
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.2f\t%.2f\t%.2f\t%s\t%d\t\n", f.Fault, f.Injected, f.Lasted, f.P50, f.P99, f.Worst, bar, f.Samples)
	}
	fmt.Fprint(t, "\nsources\tnumber\tlines\tlost\tdoubled\t\n")
	for _, kind := range []string{kindUrgent, kindBulk, kindSyslog} {
		if l := r.Lines[kind]; l != nil {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t\n", kind, l.Sources, l.Written, l.Lost, l.Doubled)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return r.printChecks(w)
}

func (r *result) printChecks(w io.Writer) error {
	l := r.Ledger
	fmt.Fprintf(w, "\nlost %d doubled %d\n", r.Lost, r.Doubled)
	fmt.Fprintf(w, "ledger: accepted %d = settled %d + held %d + dropped %d + unknown %d\n", l.Accepted, l.Settled, l.Held, l.Dropped, l.Unknown)
	fmt.Fprintf(w, "incidents opened: %d\n", r.Incidents)
	fmt.Fprintf(w, "replay: %d nodes, %d records, %d hashes compared\n", r.Replay.Nodes, r.Replay.Records, r.Replay.Hashes)
	fmt.Fprintf(w, "resources of all nodes: before %s; after %s\n", r.Before, r.After)
	fmt.Fprintf(w, "seed %d; faults on links: %s\n", r.Seed, r.Links)
	for _, v := range r.Violated {
		fmt.Fprintf(w, "VIOLATED: %s\n", v)
	}
	verdict := "every invariant holds"
	if !r.Holds {
		verdict = fmt.Sprintf("%d invariants do not hold", len(r.Violated))
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}
