package wire

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
)

var unit = event.Unit{Origin: "eu/a", WAL: 0xfeed, Lane: event.Bulk}

// samples holds one filled message of each kind.
func samples() []Message {
	term := custody.Term{Epoch: 3, Session: 9}
	positions := [event.Lanes][]event.Position{{{Source: "s#1", File: "id", Offset: 77, Replayable: true}}, nil}
	hash := event.Hash{1, 2, 3}
	return []Message{
		&Open{WAL: 5, Term: term, Started: 1 << 62, Offers: [event.Lanes]custody.Offer{{From: 2, Last: 9, Synced: 8}, {From: 1}},
			Estate: Estate{WAL: 4, Last: [event.Lanes]uint64{70, 300}, Unread: [event.Lanes]uint64{1, 2}}},
		&Opened{WAL: 5, Term: term, Resume: [event.Lanes]uint64{4, 1}},
		&Refused{WAL: 5, Term: term, Code: RefusedOldTerm, Reason: "why", Known: term},
		&Batch{Before: hash, DurableTo: 12, Mapped: true, Map: clock.Mapping{Boot: clock.Boot{7}, Offset: -5, Bound: 6, At: 7, DriftPPM: 50}, Bytes: []byte("batch")},
		&Vouch{Lane: event.Bulk, Seq: 99},
		&Ack{Lane: event.Bulk, Durable: 9, Settled: 8},
		&Claimed{WAL: 5, Opened: 1 << 62, Positions: positions},
		&Claim{ID: 1, Origin: "eu/a", WAL: 5, Term: term, Opened: 1 << 63, Started: 1 << 62,
			Estate: Estate{WAL: 4, Last: [event.Lanes]uint64{70, 300}, Unread: [event.Lanes]uint64{1, 2}}},
		&ClaimAnswer{ID: 1, Origin: "eu/a", WAL: 5, Term: term, Granted: true, Known: term, Settled: [event.Lanes]uint64{1, 2},
			Chain: [event.Lanes]event.Hash{hash, {}}, Positions: positions},
		&Digest{ID: 2, Sections: [][]byte{[]byte("one"), []byte("two")}},
		&DigestAnswer{ID: 2, Judgements: []Judgement{{Unit: unit, Term: term, To: 5, Verdict: custody.SkipPosition, Closed: true, InForce: custody.Term{Epoch: 3}, Settled: 4, Chain: hash}}},
		&Ask{ID: 3, Units: []event.Unit{unit}},
		&Findings{ID: 4, Findings: []anomaly.Finding{{ID: anomaly.ID{1}, Revision: 1, Detector: "rule", Version: 1, Series: stream.Series{Entity: "e", Signal: "s"},
			Onset: clock.Interval{Lo: -1, Hi: 1 << 40}, Point: 7, Decided: 8, Detected: 9, Score: 1500, Severity: event.SeverityError, Class: anomaly.Error,
			Baseline: "b", Summary: "m", Evidence: []anomaly.Ref{{Unit: unit, From: 1, To: 300}}, Links: []anomaly.Link{{Trace: [16]byte{1}, Span: [8]byte{2}, Parent: [8]byte{3}}},
			Peer: "p", Provisional: true, Ended: true}},
			Expect: []Expect{{Unit: unit, Term: term, Known: anomaly.Expectations{Since: 1e18, Floor: 13, Partial: true,
				Codes: []stream.Series{{Entity: "e", Signal: "s"}}, Speakers: []anomaly.Speaker{{Source: "x", Entity: "e", Since: 1, Last: 2, Events: 3}}}}},
			Named: []Named{{ID: "p-1", Anchor: anomaly.ID{1}}}},
		&Done{ID: 4},
		&Patterns{Version: 300, Set: []byte("set")},
		&Forward{Relay: "eu/r", Kind: KindDigest, Body: []byte("body")},
		&Directory{Nodes: []Node{{Name: "eu/r", Region: "eu", Addr: "127.0.0.1:1", Weight: 3}}},
		&Status{JSON: []byte("{}")},
		&Grant{BytesPerS: 1 << 20},
		&Uplink{Life: 3, Path: []string{"eu/top1", "core/root1"}},
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	kinds := map[uint8]bool{}
	for _, m := range samples() {
		x := Encode(m)
		if x.Kind == 0 || kinds[x.Kind] {
			t.Errorf("%T has the kind %d, which is none or taken", m, x.Kind)
		}
		kinds[x.Kind] = true
		got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
		if err := Decode(x.Body, got); err != nil {
			t.Errorf("%T: %v", m, err)
			continue
		}
		if again := Encode(got); !bytes.Equal(again.Body, x.Body) {
			t.Errorf("%T: decoded and encoded again it has other bytes", m)
		}
	}
}

// A relay passes requests and answers on under other ids: nothing else of them
// may change, and nothing else may pass.
func TestOnlyTheIDChangesOnTheWay(t *testing.T) {
	requests, answers := 0, 0
	for _, m := range samples() {
		x := Encode(m)
		for _, decode := range []func(uint8, []byte) (Message, *uint64, error){Request, Answer} {
			got, id, err := decode(x.Kind, x.Body)
			if err != nil {
				continue
			}
			was := *id
			*id = 99
			if bytes.Equal(Encode(got).Body, x.Body) {
				t.Errorf("%T: the id is not part of it", m)
			}
			if *id = was; !bytes.Equal(Encode(got).Body, x.Body) {
				t.Errorf("%T: it changed on the way", m)
			}
		}
		if _, _, err := Request(x.Kind, x.Body); err == nil {
			requests++
		}
		if _, _, err := Answer(x.Kind, x.Body); err == nil {
			answers++
		}
	}
	if requests != 3 || answers != 3 {
		t.Errorf("%d kinds pass upwards and %d downwards, want 3 each", requests, answers)
	}
}

func TestTruncatedMessagesAreRefused(t *testing.T) {
	for _, m := range samples() {
		body := Encode(m).Body
		for n := range len(body) {
			got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
			if err := Decode(body[:n], got); !errors.Is(err, pack.ErrMalformed) {
				t.Errorf("%T cut to %d of %d bytes: error %v", m, n, len(body), err)
			}
		}
	}
}

func TestSectionRoundTrip(t *testing.T) {
	fold := stream.NewFold(stream.DefaultLimits())
	fold.Merge(stream.RowsOf(&event.Event{Seq: 5, Entity: "e", Signal: "s", Peer: "p", Value: 2.5}, 1e9))
	s := Section{Head: custody.Head{Unit: unit, Relay: "eu/r", From: 5, To: 5, Before: event.Hash{1}, After: event.Hash{2}, Rest: true, Resumes: true},
		Positions: []event.Position{{Source: "s", Offset: 1}}, Rows: fold.Take()}
	b := EncodeSection(&s)
	got, err := DecodeSection(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(EncodeSection(&got), b) {
		t.Errorf("decoded %+v, want %+v", got, s)
	}
}

// FuzzDecode feeds bytes to every decoder: none may panic, allocate beyond
// its caps, or accept what it would write otherwise.
func FuzzDecode(f *testing.F) {
	for i, m := range samples() {
		f.Add(uint8(i), Encode(m).Body)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		all := samples()
		m := reflect.New(reflect.TypeOf(all[int(which)%len(all)]).Elem()).Interface().(Message)
		if Decode(b, m) == nil {
			once := Encode(m).Body
			again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
			if err := Decode(once, again); err != nil {
				t.Fatalf("%T: what was decoded cannot be written and read: %v", m, err)
			}
		}
		if s, err := DecodeSection(b); err == nil {
			if _, err := DecodeSection(EncodeSection(&s)); err != nil {
				t.Fatalf("section: %v", err)
			}
		}
	})
}
