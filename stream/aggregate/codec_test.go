package aggregate

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"pando/event"
	"pando/internal/exact"
	"pando/internal/pack"
	"pando/stream"
)

// busy is an engine in the middle of things: late data not told yet, Other,
// revisions, every kind of detail.
func busy() *Engine {
	cfg := everything()
	cfg.Windows[0].MaxGroups = 3
	e, err := New(cfg, DefaultLimits())
	if err != nil {
		panic(err)
	}
	events, points := traffic(rand.New(rand.NewPCG(1, 1)), 300)
	marks := stream.NewWatermarks()
	for i := range events {
		observe(e, bulk, events[i], points[i])
		if i%100 == 50 {
			marks.Set(bulk, dawn+int64(i)*second/100)
			e.Advance(marks)
		}
	}
	return e
}

func FuzzRestore(f *testing.F) {
	e := busy()
	cfg := e.config()
	f.Add(snapshotOf(e))
	fresh, _ := New(cfg, DefaultLimits())
	f.Add(snapshotOf(fresh))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := restored(cfg, DefaultLimits(), b)
		if err != nil {
			return
		}
		if _, err := restored(cfg, DefaultLimits(), snapshotOf(e)); err != nil {
			t.Errorf("what was restored cannot be restored again: %v", err)
		}
		marks := stream.NewWatermarks()
		for i := range int64(4) {
			observe(e, bulk, event.Event{Entity: "app/1", Signal: "http.500", Value: 1}, dawn+i*second)
			marks.Set(bulk, dawn+i*second*10)
			e.Advance(marks)
		}
	})
}

func fullResult() Result {
	return Result{Window: "w", Group: stream.Series{Entity: "web", Signal: "http.503"}, Start: dawn, End: dawn + second,
		Revision: 3, Partial: true, Active: 37, Units: 38, Count: 9, Unsummed: 2, Sum: exact.FromInt(-4), Min: -7.5, Max: 3,
		Quantiles: []Quantile{{0.5, 1.25, 1.0 / 128}}, Distinct: []Different{{"attr:user.id", 4}},
		Top: []Ranking{{"peer", []Entry{{"db", 7, 1}, {"cache", 2, 1}}}}}
}

func resultBytes(x *Result) []byte {
	w := pack.NewWriter()
	AppendResult(w, x)
	return w.Copy()
}

func readResult(b []byte) (Result, error) {
	r := pack.NewReader(b)
	x := ReadResult(r)
	return x, r.Done()
}

func TestResultRoundTrip(t *testing.T) {
	want := fullResult()
	for i := range reflect.ValueOf(want).NumField() {
		if reflect.ValueOf(want).Field(i).IsZero() {
			t.Errorf("the test leaves %s empty", reflect.TypeOf(want).Field(i).Name)
		}
	}
	if got, err := readResult(resultBytes(&want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if want.Mean() != -4.0/7 {
		t.Errorf("mean %v", want.Mean())
	}
	for name, spoil := range map[string]func(*Result){
		"an end before the start":    func(x *Result) { x.End = x.Start },
		"no revision":                func(x *Result) { x.Revision = 0 },
		"no events":                  func(x *Result) { x.Count, x.Unsummed = 0, 0 },
		"more active than there are": func(x *Result) { x.Active = 39 },
		"extremes that changed":      func(x *Result) { x.Min, x.Max = x.Max, x.Min },
		"an unknown field":           func(x *Result) { x.Distinct[0].Of = "colour" },
		"an error above the count":   func(x *Result) { x.Top[0].Entries[1].Error = 3 },
	} {
		x := fullResult()
		spoil(&x)
		if _, err := readResult(resultBytes(&x)); !errors.Is(err, pack.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadResult(f *testing.F) {
	x := fullResult()
	f.Add(resultBytes(&x))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := readResult(b)
		if err == nil && !bytes.Equal(resultBytes(&x), b) {
			t.Errorf("read from %x, written as %x", b, resultBytes(&x))
		}
	})
}
