//go:build !zos

package cli

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pando/stream/cep"
	"pando/stream/cep/pattern"
)

func newPatternTry(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "test FILE TRACE",
		Short: "Show what patterns find in a trace of events, and what they nearly find",
		Long: `Run the patterns of a file over the events of a trace, whatever their scope, and
show each match, and each near miss: a run that began and did not become a match,
with what should have come, and by when.

A trace has one JSON object a line. Only time is mandatory:

    {"time":"2026-11-29T12:00:00.5Z", "kind":"log", "severity":"error",
     "entity":"payments/gw", "signal":"http.503", "value":1, "peer":"", "source":"",
     "trace":"32 hexadecimal digits", "attrs":{"zone":"eu"},
     "origin":"", "sequence":0}

kind is log, metric, span, loss or finding. Events are taken in the order of their
time, and those of one time in that of origin and sequence, which is the line's
number if it is not given.`,
		Example: `  pando pattern test patterns.yaml incident.jsonl
  pando pattern test patterns.yaml incident.jsonl -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := loadPatterns(args[0])
			if err != nil {
				return err
			}
			trace, err := loadTrace(args[1])
			if err != nil {
				return err
			}
			tried, err := tryPatterns(set, trace)
			if err != nil {
				return err
			}
			return e.render(tried, tried.table())
		},
	}
}

func loadTrace(path string) ([]cep.Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	defer f.Close() // nothing was written
	trace, err := pattern.ReadTrace(f)
	if err != nil {
		return nil, &configError{path: path, reason: err.Error(), hint: "see \"pando pattern test --help\" for the fields of an event"}
	}
	return trace, nil
}

// tried is what the patterns found.
type tried struct {
	Events  int          `json:"events"`
	Matches []triedMatch `json:"matches"`
	Misses  []triedMiss  `json:"near_misses"`
}

type triedMatch struct {
	Pattern string            `json:"pattern"`
	Key     []string          `json:"key"`
	Start   string            `json:"start"`
	End     string            `json:"end"`
	Ways    uint64            `json:"ways"` // to assign events to the steps
	Events  []triedEvent      `json:"events"`
	Values  map[string]string `json:"values"` // folds, and what conditions refer to
	Summary string            `json:"summary"`
}

type triedMiss struct {
	Pattern string       `json:"pattern"`
	Key     []string     `json:"key"`
	Start   string       `json:"start"`
	At      string       `json:"at"`  // when it was decided
	Due     string       `json:"due"` // before which it had to come
	Reason  string       `json:"reason"`
	Events  []triedEvent `json:"events"`
}

type triedEvent struct {
	Step     string `json:"step"`
	Time     string `json:"time"`
	Origin   string `json:"origin,omitempty"`
	Sequence uint64 `json:"sequence"`
}

func tryPatterns(set *cep.Set, trace []cep.Event) (tried, error) {
	opts := cep.DefaultOptions()
	opts.Misses = true
	engine, err := cep.New(set, opts)
	if err != nil {
		return tried{}, err
	}
	out := tried{Events: len(trace), Matches: []triedMatch{}, Misses: []triedMiss{}}
	slices.SortStableFunc(trace, func(a, b cep.Event) int { return int(min(max(a.Time-b.Time, -1), 1)) })
	advance := func(watermark int64) {
		for _, m := range engine.Advance(watermark) {
			out.Matches = append(out.Matches, showMatch(&m))
		}
	}
	for i := range trace {
		advance(trace[i].Time)
		engine.Observe(&trace[i])
	}
	advance(math.MaxInt64)
	for _, m := range engine.Misses() {
		out.Misses = append(out.Misses, triedMiss{
			Pattern: m.Pattern.Name, Key: m.Key, Start: rootTime(m.Start), At: rootTime(m.At), Due: rootTime(m.Due),
			Reason: m.Reason, Events: showEvents(m.Pattern, m.Evidence),
		})
	}
	return out, nil
}

func showMatch(m *cep.Match) triedMatch {
	values := map[string]string{}
	for i, v := range m.Values() {
		values[m.Pattern.Slots[i].Name] = v
	}
	return triedMatch{
		Pattern: m.Pattern.Name, Key: m.Key, Start: rootTime(m.Start), End: rootTime(m.End), Ways: m.Ways,
		Events: showEvents(m.Pattern, m.Evidence), Values: values, Summary: m.Finding(m.End).Summary,
	}
}

func showEvents(p *cep.Pattern, refs []cep.Ref) []triedEvent {
	var out []triedEvent
	for _, ref := range refs {
		out = append(out, triedEvent{p.Steps[ref.Step].Name, rootTime(ref.Time), ref.Unit.Value().Origin, ref.Seq})
	}
	return out
}

func rootTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// table shows matches and near misses, one a line.
func (t *tried) table() table {
	out := table{columns: []string{"what", "pattern", "key", "start", "end", "events", "why"}}
	for _, m := range t.Matches {
		out.add("match", m.Pattern, strings.Join(m.Key, ","), m.Start, m.End, eventWords(m.Events), m.Summary)
	}
	for _, m := range t.Misses {
		out.add("near miss", m.Pattern, strings.Join(m.Key, ","), m.Start, m.At, eventWords(m.Events), m.Reason+"; due before "+m.Due)
	}
	return out
}

func eventWords(events []triedEvent) string {
	words := make([]string, len(events))
	for i, ev := range events {
		words[i] = fmt.Sprintf("%s:%d", ev.Step, ev.Sequence)
	}
	return strings.Join(words, " ")
}
