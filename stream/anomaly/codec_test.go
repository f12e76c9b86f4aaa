package anomaly

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/detect"
)

// fullFinding has a value in every field.
func fullFinding() Finding {
	return Finding{
		ID: ID{1, 2, 3}, Revision: 7, Detector: DetectorRule, Rule: "errors", Version: 1, Class: Load,
		Series: stream.Series{Entity: "payments/swift-gateway", Signal: "http.503"},
		Onset:  clock.Interval{Lo: -5, Hi: 9}, Point: 3, Decided: 8, Detected: 10, Score: 1500, Severity: event.SeverityError,
		Baseline: "fewer", Summary: "more", Peer: "payments/ledger", Provisional: true, Ended: true,
		Evidence: []Ref{{Unit: event.Unit{Origin: "east/a", WAL: 5, Lane: event.Bulk}, From: 3, To: 9}},
		Links:    []Link{{Trace: [16]byte{4}, Span: [8]byte{5}, Parent: [8]byte{6}}},
	}
}

func TestFindingRoundTrip(t *testing.T) {
	want := fullFinding()
	v := reflect.ValueOf(want)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test leaves %s empty", v.Type().Field(i).Name)
		}
	}
	r := pack.NewReader(encoded([]Finding{want}))
	if got := ReadFinding(r); r.Done() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, r.Err(), want)
	}
}

func FuzzFinding(f *testing.F) {
	f.Add(encoded([]Finding{fullFinding()}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		x := ReadFinding(r)
		if r.Err() != nil {
			if !errors.Is(r.Err(), pack.ErrMalformed) {
				t.Errorf("error %v", r.Err())
			}
			return
		}
		r = pack.NewReader(encoded([]Finding{x}))
		if y := ReadFinding(r); r.Done() != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("%+v became %+v, %v", x, y, r.Err())
		}
	})
}

// someExpectations draws what one of several relays may know of one origin.
func someExpectations(r *rand.Rand) Expectations {
	var x Expectations
	if r.IntN(5) > 0 {
		x.Since, x.Floor = int64(1+r.IntN(3)), event.Severity(9+4*r.IntN(2))
	}
	x.Partial = r.IntN(8) == 0
	for i := range 6 {
		if r.IntN(2) == 0 {
			x.Codes = append(x.Codes, stream.Series{Entity: "job", Signal: fmt.Sprint(i)})
		}
	}
	for i := range 3 {
		if r.IntN(3) == 0 {
			continue
		}
		s := Speaker{Source: "console", Entity: fmt.Sprint(i), Since: int64(1 + r.IntN(2)),
			Last: int64(10 + r.IntN(5)), Events: uint64(r.IntN(4))}
		for range r.IntN(3) {
			s.rhythm.add(int64(r.IntN(3))*second, int64(r.IntN(3)))
		}
		if r.IntN(2) == 0 {
			f := fullFinding()
			f.Onset.Lo, f.Onset.Hi, f.Revision, f.Detected = s.Last, s.Last+1, uint32(1+r.IntN(2)), int64(r.IntN(2))
			s.Open = &f
		}
		x.Speakers = append(x.Speakers, s)
	}
	for i := range kindEnd {
		if r.IntN(2) > 0 {
			x.Tests = append(x.Tests, someTest(r, i))
		}
	}
	return x
}

func someTest(r *rand.Rand, k kind) Test {
	series := stream.Series{Entity: "web", Signal: []string{"call", "rpc.err", "took"}[k]}
	t := Test{key: testKey{k, []string{"calls", "failures", "latency"}[k], series}, source: "console",
		counts: quickSpec(k).counts + uint64(r.IntN(2)), at: dawn - int64(r.IntN(3)), changed: int64(r.IntN(3))}
	if r.IntN(3) > 0 {
		rate, err := detect.NewRate(quickSpec(rateTest).rate)
		if err != nil {
			panic(err)
		}
		for at := range int64(50) {
			rate.Step(dawn+at*second, r.Int64N(5))
		}
		t.learnt = rate.Test().Learnt()
	}
	if r.IntN(2) > 0 {
		f := fullFinding()
		f.Ended, f.Detector, f.Revision = false, kindDetectors[k], uint32(1+r.IntN(2))
		t.open, t.alternative = &f, r.IntN(detect.Alternatives)
	}
	return t
}

// quickSpec is the test of a kind that quick configures.
func quickSpec(k kind) *spec {
	c := quick()
	return &c.specs()[k]
}

func expectationBytes(x Expectations) []byte {
	w := pack.NewWriter()
	x.Append(w)
	return w.Copy()
}

func TestMergeInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		a, b, c := someExpectations(r), someExpectations(r), someExpectations(r)
		before := expectationBytes(a)
		want := expectationBytes(a.Merge(b).Merge(c))
		for name, x := range map[string]Expectations{
			"a(bc)": a.Merge(b.Merge(c)), "(cb)a": c.Merge(b).Merge(a), "(ba)c": b.Merge(a).Merge(c),
			"abca": a.Merge(b).Merge(c).Merge(a),
		} {
			if !bytes.Equal(expectationBytes(x), want) {
				t.Fatalf("%s differs from (ab)c of\n%+v\n%+v\n%+v", name, a, b, c)
			}
		}
		if !bytes.Equal(expectationBytes(a), before) {
			t.Fatal("a merge changed its operand")
		}
	}
}

func FuzzExpectations(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 5 {
		f.Add(expectationBytes(someExpectations(r)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := pack.NewReader(b)
		x := ReadExpectations(r)
		if r.Done() != nil {
			return
		}
		if !bytes.Equal(expectationBytes(x), b) {
			t.Error("written again it has other bytes")
		}
		if y := travel(x); !bytes.Equal(expectationBytes(x), expectationBytes(y)) {
			t.Error("the second reading differs")
		}
		e, err := NewEngine(quick())
		if err != nil {
			t.Fatal(err)
		}
		e.Tick(dawn)
		unit := event.Unit{Origin: "east/a", Lane: event.Bulk}
		e.Present(unit)
		e.Claimed(unit, x)
		if _, err := restored(quick(), snapshotOf(e)); err != nil {
			t.Errorf("the state after the claim cannot be read: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	s := newStage(quick())
	s.speaks("east/a", "console", "job", "hello", event.SeverityInfo, 300*time.Millisecond)
	for _, signal := range []string{"call", "rpc.err", "took"} {
		s.speaks("east/a", "console", "web", signal, event.SeverityInfo, 200*time.Millisecond)
	}
	s.join("east/a", "A")
	s.claim("east/a")
	s.pass(8 * time.Second)
	for range 12 {
		s.say("east/a", "console", "web", "http.503", event.SeverityError, 0)
	}
	f.Add(snapshotOf(s.relay("A")))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := restored(quick(), b)
		if err != nil {
			return
		}
		if _, err := restored(quick(), snapshotOf(e)); err != nil {
			t.Errorf("what was restored cannot be restored again: %v", err)
		}
		unit := event.Unit{Origin: "east/a", WAL: 1, Lane: event.Bulk}
		ev := event.Event{Seq: 1, Source: "console", Entity: "web", Signal: "http.503", Severity: event.SeverityError,
			Stamp: event.Stamp{Lo: 2 * dawn, Hi: 2 * dawn, Point: 2 * dawn}}
		a := arrivalOf(unit, ev)
		a.At = 2 * dawn
		e.Begin(a)
		e.Observe(0)
		ev.Kind, ev.Signal = event.Heartbeat, readable
		e.Heartbeat(unit, &ev, 2*dawn)
		e.Tick(3 * dawn)
	})
}
