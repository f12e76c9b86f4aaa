package relay

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/stream"
	"pando/stream/aggregate"
)

// windowed is a core with one window, and agents that speak in the bulk lane.
type windowed struct {
	*bench
	told int // of log
}

const windowDawn = int64(1_000e9)

func newWindowed(t *testing.T, config string) *windowed {
	w := &windowed{bench: newBench(t)}
	w.now = windowDawn
	w.do(recConfig, []byte("rules: []\nfirst_seen: {enabled: false}\nwindows: ["+config+"]\n"))
	w.uplink(1)
	return w
}

func (w *windowed) join(name string, id event.WALID) *fakeAgent {
	a := w.agent(name, id)
	w.mustOpen(a)
	w.root(0)
	return a
}

// say sends one event or, with kind Heartbeat, the word on the source up to
// then. At is milliseconds since dawn.
func (w *windowed) say(a *fakeAgent, kind event.Kind, signal string, value float64, at int64) {
	w.t.Helper()
	a.writeEvents(w.t, event.Bulk, 1, true, func(_ int, e *event.Event) {
		stamp := windowDawn - 500e9 + at*1e6
		e.Kind, e.Signal, e.Value, e.Stamp = kind, signal, value, event.Stamp{Lo: stamp, Hi: stamp, Point: stamp}
	})
	w.now = max(w.now, windowDawn+at*1e6)
	last := len(a.batches[event.Bulk]) - 1
	w.send(a, event.Bulk, last, a.batches[event.Bulk][last].last)
}

func (w *windowed) beat(a *fakeAgent, at int64) { w.say(a, event.Heartbeat, "readable", 0, at) }

// expect compares what was told since the last time.
func (w *windowed) expect(want ...string) {
	w.t.Helper()
	var got []string
	for ; w.told < len(w.log); w.told++ {
		o := w.log[w.told]
		if o.Kind != outWindows {
			continue
		}
		results, err := readResults(o.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range results {
			text := fmt.Sprintf("%s %s until %dms: %d events, sum %v, by %d of %d", r.Window, r.Group.Signal, (r.End-windowDawn)/1e6, r.Count, r.Sum.Float(), r.Active, r.Units)
			if r.Revision > 1 {
				text += fmt.Sprintf(", revision %d", r.Revision)
			}
			if r.Partial {
				text += ", partial"
			}
			got = append(got, text)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("told\n%q, want\n%q", got, want)
	}
}

// The watermark is the least of the agents'; a restart in the middle of a window
// loses nothing of it; late events tell it again; one silent agent holds the
// others up for as long as is fair, and is missing from the active.
func TestWindowsOfSeveralAgents(t *testing.T) {
	w := newWindowed(t, "{name: w, signal: x, lanes: bulk, window: 1s, lateness: 1m}")
	a, b := w.join("eu/a", 1), w.join("eu/b", 2)
	w.beat(a, 0)
	w.beat(b, 0)
	w.say(a, event.Metric, "x", 1, 100)
	w.say(b, event.Metric, "x", 2, 200)
	w.restart()
	w.say(a, event.Metric, "x", 4, 900)
	w.say(a, event.Metric, "other", 8, 900)
	w.beat(a, 1100)
	w.tick(2e9)
	w.expect()
	w.beat(b, 1050)
	w.tick(1e8)
	w.expect("w x until 1000ms: 3 events, sum 7, by 2 of 2, partial")

	w.say(b, event.Metric, "x", 16, 950) // late
	w.say(a, event.Metric, "x", 32, 1500)
	w.beat(a, 2600)
	w.tick(1e8)
	w.expect("w x until 1000ms: 4 events, sum 23, by 2 of 2, revision 2, partial")

	w.tick(3e9) // b has not come further for less than five seconds
	w.expect()
	w.beat(a, 4000)
	w.tick(2e9)
	w.expect("w x until 2000ms: 1 events, sum 32, by 1 of 2")
}

// A unit that went is waited for no longer after a while, nor counted.
func TestWindowsForgetUnitsThatMoved(t *testing.T) {
	w := newWindowed(t, "{name: w, signal: x, lanes: bulk, window: 1s}")
	a, b := w.join("eu/a", 1), w.join("eu/b", 2)
	w.beat(a, 0)
	w.beat(b, 0)
	w.say(a, event.Metric, "x", 1, 1000)
	w.do(recClose, encodeNumbers(b.session))
	w.beat(a, 2100)
	at := len(w.log)
	w.tick(2e9)
	w.root(at)
	w.expect() // it may come back
	w.beat(a, 2200)
	w.tick(4e9)
	w.expect("w x until 2000ms: 1 events, sum 1, by 1 of 1")
}

// What a board keeps for those who follow is bounded, and who asks with a number
// of an earlier process begins anew.
func TestBoard(t *testing.T) {
	var b board
	if list, next, missed := b.after("w", 7, 10); len(list) != 0 || next != 0 || missed != 0 {
		t.Errorf("an empty board has %v, %d, %d", list, next, missed)
	}
	tell := func(window string, end int64, revision uint32, signals ...string) {
		var list []aggregate.Result
		for _, s := range signals {
			list = append(list, aggregate.Result{Window: window, Group: stream.Series{Entity: "e", Signal: s}, Start: end - 1, End: end, Revision: revision, Count: uint64(end)})
		}
		b.put(list)
	}
	tell("w", 10, 1, "x", "y")
	tell("v", 10, 1, "z")
	tell("w", 20, 1, "y", "x")
	tell("w", 10, 2, "x") // late
	tell("w", 20, 2, "y")
	var got []string
	for _, x := range b.results("w") {
		got = append(got, fmt.Sprintf("%s/%d/%d", x.Signal, x.Count, x.Revision))
	}
	if want := []string{"x/20/1", "y/20/2"}; !slices.Equal(got, want) {
		t.Errorf("the latest are %v, want %v", got, want)
	}
	list, next, missed := b.after("w", 2, 2)
	if len(list) != 2 || list[0].Signal != "y" || list[1].Signal != "x" || next != 5 || missed != 0 {
		t.Errorf("after 2 there are %v, next %d, missed %d", list, next, missed)
	}
	if list, next, _ = b.after("w", next, 10); len(list) != 2 || next != 7 {
		t.Errorf("then %v, next %d", list, next)
	}
	if list, next, _ = b.after("w", 1000, 10); len(list) != 6 || next != 7 {
		t.Errorf("from an earlier process: %d results, next %d", len(list), next)
	}
	for range maxFollowed {
		tell("w", 30, 1, "x")
	}
	if list, next, missed = b.after("w", 2, 3); len(list) != 3 || list[0].Number != 8 || next != 10 || missed != 5 {
		t.Errorf("after too much: %d results, next %d, missed %d", len(list), next, missed)
	}
}

// The API lists windows and tells of one, by its latest results or by those
// after a number.
func TestWindowsAPI(t *testing.T) {
	r := reloadable(t)
	o := changed(r)
	o.Analysis.Windows = []aggregate.Window{{Name: "w", Length: time.Second}}
	if _, err := r.Reconfigure(o); err != nil {
		t.Fatal(err)
	}
	r.board.put([]aggregate.Result{{Window: "w", Group: stream.Series{Entity: "e", Signal: "s"}, Start: 0, End: 1e9, Revision: 1, Count: 3,
		Quantiles: []aggregate.Quantile{{Q: 0.5, Value: 7, RelativeError: 0.01}}, Top: []aggregate.Ranking{{Of: "peer", Entries: []aggregate.Entry{{Name: "p", Count: 2}}}}}})
	for path, want := range map[string]string{
		"/v1/windows": `200 {"windows":[{"window":"w","groups":0,"slices":0,"cells":0,"detail_bytes":0,"late":0,"expired":0,"folded":0,"refused":0,"undetailed":0}]}`,
		"/v1/windows/w": `200 {"results":[{"number":1,"window":"w","entity":"e","signal":"s","start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:01Z",` +
			`"revision":1,"partial":false,"active_units":0,"units":0,"count":3,"sum":0,"min":0,"max":0,"mean":0,` +
			`"quantiles":[{"q":0.5,"value":7,"relative_error":0.01}],"top":[{"of":"peer","entries":[{"name":"p","count":2,"error":0}]}]}],"next":1,"missed":0}`,
		"/v1/windows/w?after=1": `200 {"results":null,"next":1,"missed":0}`,
		"/v1/windows/w?after=x": "400 after: want the number of a result",
		"/v1/windows/v":         `404 {"error":"v: this relay has no such window; \"pando windows\" lists them"}`,
	} {
		answer := httptest.NewRecorder()
		r.API().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if got := fmt.Sprint(answer.Code, " ", strings.TrimSpace(answer.Body.String())); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
