//go:build !zos

package relay

import (
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"pando/stream"
	"pando/stream/aggregate"
	"pando/tree/journal"
	"pando/tree/status"
	"pando/tree/tap"
)

// board shows what windows told since the process started: for each the results
// of its latest end, and of all the latest results in the order in which they
// were told. Safe for concurrent use.
type board struct {
	mu     sync.Mutex
	latest map[string]map[stream.Series]WindowResult // by window
	told   []WindowResult                            // a ring
	next   uint64                                    // number of the next result, from 1
}

// maxFollowed bounds the results that wait for those who follow, about 20 MB.
const maxFollowed = 1 << 15

// put takes what the core tells.
func (b *board) put(results []aggregate.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.latest == nil {
		b.latest, b.next = map[string]map[stream.Series]WindowResult{}, 1
	}
	for i := range results {
		x := windowResult(&results[i])
		x.Number = b.next
		if len(b.told) < maxFollowed {
			b.told = append(b.told, x)
		} else {
			*b.at(x.Number) = x
		}
		b.next++
		groups, end := b.latest[x.Window], int64(0)
		for _, g := range groups {
			end = g.end
			break
		}
		switch {
		case groups == nil || x.end > end:
			b.latest[x.Window] = map[stream.Series]WindowResult{results[i].Group: x}
		case x.end == end:
			groups[results[i].Group] = x
		}
	}
}

func (b *board) at(number uint64) *WindowResult { return &b.told[(number-1)%maxFollowed] }

// show puts what the core tells of windows on the board.
func (r *Relay) show(body []byte) {
	results, err := readResults(body)
	if err != nil { // the core wrote it
		r.log.Error("results of windows", "error", err)
	}
	r.board.put(results)
}

// WindowsTold is how many results windows told since the process started.
func (r *Relay) WindowsTold() uint64 {
	r.board.mu.Lock()
	defer r.board.mu.Unlock()
	return max(r.board.next, 1) - 1
}

// results are those of a window's latest end, in the order of their groups.
func (b *board) results(window string) []WindowResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]WindowResult, 0, len(b.latest[window]))
	for _, x := range b.latest[window] {
		list = append(list, x)
	}
	slices.SortFunc(list, func(x, y WindowResult) int {
		return stream.Series{Entity: x.Entity, Signal: x.Signal}.Compare(stream.Series{Entity: y.Entity, Signal: y.Signal})
	})
	return list
}

// after are the results of a window that were told after a number, and how many
// of all windows were told since and are not kept any more.
func (b *board) after(window string, number uint64, limit int) (list []WindowResult, next, missed uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == 0 {
		return nil, 0, 0
	}
	if number >= b.next {
		number = 0 // of an earlier process
	}
	if gone := b.next - 1 - uint64(len(b.told)); number < gone {
		missed, number = gone-number, gone
	}
	for ; number+1 < b.next && len(list) < limit; number++ {
		if x := b.at(number + 1); x.Window == window {
			list = append(list, *x)
		}
	}
	return list, number, missed
}

// WindowResult is an [aggregate.Result] for people and their programs.
type WindowResult struct {
	Number    uint64           `json:"number"` // rises with each result that this process tells
	Window    string           `json:"window"`
	Entity    string           `json:"entity,omitempty"`
	Signal    string           `json:"signal,omitempty"`
	Start     string           `json:"start"` // RFC 3339, UTC
	End       string           `json:"end"`
	Revision  uint32           `json:"revision"`
	Partial   bool             `json:"partial"` // earlier events may be missing
	Active    int              `json:"active_units"`
	Units     int              `json:"units"`
	Count     uint64           `json:"count"`
	Unsummed  uint64           `json:"unsummed,omitempty"`
	Sum       float64          `json:"sum"`
	Min       float64          `json:"min"`
	Max       float64          `json:"max"`
	Mean      float64          `json:"mean"`
	Quantiles []WindowQuantile `json:"quantiles,omitempty"`
	Distinct  []WindowDistinct `json:"distinct,omitempty"`
	Top       []WindowTop      `json:"top,omitempty"`
	end       int64
}

// WindowQuantile is an [aggregate.Quantile].
type WindowQuantile struct {
	Q     float64 `json:"q"`
	Value float64 `json:"value"`
	Error float64 `json:"relative_error"` // at most
}

// WindowDistinct is an [aggregate.Different].
type WindowDistinct struct {
	Of    string `json:"of"`
	Count uint64 `json:"count"`
}

// WindowTop is an [aggregate.Ranking].
type WindowTop struct {
	Of      string     `json:"of"`
	Entries []TopEntry `json:"entries"`
}

// TopEntry is an [aggregate.Entry].
type TopEntry struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
	Error uint64 `json:"error"` // by so much Count may be too high
}

func windowResult(r *aggregate.Result) WindowResult {
	x := WindowResult{Window: r.Window, Entity: r.Group.Entity, Signal: r.Group.Signal, Start: tap.Time(r.Start), End: tap.Time(r.End),
		Revision: r.Revision, Partial: r.Partial, Active: r.Active, Units: r.Units, Count: r.Count, Unsummed: r.Unsummed,
		Sum: r.Sum.Float(), Min: r.Min, Max: r.Max, Mean: r.Mean(), end: r.End}
	for _, q := range r.Quantiles {
		x.Quantiles = append(x.Quantiles, WindowQuantile{q.Q, q.Value, q.RelativeError})
	}
	for _, d := range r.Distinct {
		x.Distinct = append(x.Distinct, WindowDistinct{string(d.Of), d.Count})
	}
	for _, t := range r.Top {
		top := WindowTop{Of: string(t.Of)}
		for _, e := range t.Entries {
			top.Entries = append(top.Entries, TopEntry{e.Name, e.Count, e.Error})
		}
		x.Top = append(x.Top, top)
	}
	return x
}

// WindowState is a window at work.
type WindowState struct {
	Window     string `json:"window"`
	Groups     int    `json:"groups"`
	Slices     int    `json:"slices"`
	Cells      int    `json:"cells"`
	Bytes      int    `json:"detail_bytes"` // of sketches and counts
	Mark       string `json:"watermark,omitempty"`
	Late       uint64 `json:"late"`       // events that changed a result already told
	Expired    uint64 `json:"expired"`    // events that came too late for one
	Folded     uint64 `json:"folded"`     // events in __other__
	Refused    uint64 `json:"refused"`    // events that found too many slices open
	Undetailed uint64 `json:"undetailed"` // events that are in no sketch or count, for want of room
}

// Windows lists the windows in the order of the configuration.
func (r *Relay) Windows() []WindowState {
	list := []WindowState{}
	for _, s := range r.windowStats() {
		x := WindowState{Window: s.Window, Groups: s.Groups, Slices: s.Slices, Cells: s.Cells, Bytes: s.Weight * aggregate.WeightBytes,
			Late: s.Late, Expired: s.Expired, Folded: s.Folded, Refused: s.Refused, Undetailed: s.Undetailed}
		if s.Marked() {
			x.Mark = tap.Time(s.Mark)
		}
		list = append(list, x)
	}
	return list
}

func (r *Relay) windowStats() (list []aggregate.Stats) {
	r.journal.View(func(k journal.Core) { list = k.(*core).windows.engine().Stats() })
	return list
}

// windowsAnswer is that of /v1/windows/NAME.
type windowsAnswer struct {
	Results []WindowResult `json:"results"`
	Next    uint64         `json:"next"`   // ask with after=next for what comes then
	Missed  uint64         `json:"missed"` // results of all windows that came too fast for who follows
}

// maxFollowedAtOnce bounds an answer to who follows.
const maxFollowedAtOnce = 4096

func (r *Relay) serveWindows(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/windows", func(w http.ResponseWriter, _ *http.Request) {
		status.WriteJSON(w, map[string]any{"windows": r.Windows()})
	})
	mux.HandleFunc("GET /v1/windows/{name}", func(w http.ResponseWriter, q *http.Request) {
		name := q.PathValue("name")
		if !slices.ContainsFunc(r.windowStats(), func(s aggregate.Stats) bool { return s.Window == name }) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			status.WriteJSON(w, map[string]string{"error": name + ": this relay has no such window; \"pando windows\" lists them"})
			return
		}
		var a windowsAnswer
		if after := q.FormValue("after"); after != "" {
			n, err := strconv.ParseUint(after, 10, 64)
			if err != nil {
				http.Error(w, "after: want the number of a result", http.StatusBadRequest)
				return
			}
			a.Results, a.Next, a.Missed = r.board.after(name, n, maxFollowedAtOnce)
		} else {
			a.Results = r.board.results(name)
			for _, x := range a.Results {
				a.Next = max(a.Next, x.Number)
			}
		}
		status.WriteJSON(w, a)
	})
}

// windowCollector tells Prometheus what was irregular in windows.
type windowCollector struct{ stats func() []aggregate.Stats }

var (
	windowIrregular = prometheus.NewDesc("pando_relay_window_irregular_total",
		"Events of windows that were late (they changed a result already told), expired (too late for one), folded (in __other__), refused (too many slices open), undetailed (in no sketch or count, for want of room).",
		[]string{"window", "what"}, nil)
	windowCells = prometheus.NewDesc("pando_relay_window_cells", "Cells of windows: groups in slices.", []string{"window"}, nil)
)

func (c windowCollector) Describe(out chan<- *prometheus.Desc) {
	out <- windowIrregular
	out <- windowCells
}

func (c windowCollector) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.stats() {
		for _, x := range []struct {
			what  string
			count uint64
		}{{"late", s.Late}, {"expired", s.Expired}, {"folded", s.Folded}, {"refused", s.Refused}, {"undetailed", s.Undetailed}} {
			out <- prometheus.MustNewConstMetric(windowIrregular, prometheus.CounterValue, float64(x.count), s.Window, x.what)
		}
		out <- prometheus.MustNewConstMetric(windowCells, prometheus.GaugeValue, float64(s.Cells), s.Window)
	}
}
