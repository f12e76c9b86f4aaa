//go:build !zos

package relay

import (
	"bytes"
	"testing"

	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

// Only a set that can be stepped reaches the log, and only once; a relay that is
// started again has it.
func TestPatternsReachTheLog(t *testing.T) {
	r := reloadable(t)
	hear := func(body []byte) error {
		return r.upstream.answer(transport.Message{Kind: wire.KindPatterns, Body: body})
	}
	last := func() (n uint64) {
		r.journal.View(func(journal.Core) { n = uint64(r.journal.Log().Last()) })
		return n
	}
	good := patternsBody(t, 7, failover("silent-failover", ""))
	before := last()
	if err := hear(wire.Encode(&wire.Patterns{Version: 9, Set: []byte{99}}).Body); err != nil {
		t.Errorf("a set of a newer program ends the session: %v", err)
	}
	if err := hear(good[:1]); err == nil {
		t.Error("half a message does not end the session")
	}
	if last() != before {
		t.Error("the log has what cannot be stepped")
	}
	for range 2 {
		if err := hear(good); err != nil {
			t.Fatal(err)
		}
	}
	if n := last() - before; n != 1 {
		t.Errorf("%d records of one set", n)
	}
	if l := r.Patterns(); l.Version != 7 || len(l.Patterns) != 1 || !l.Patterns[0].Here {
		t.Errorf("listed as %+v", l)
	}
	if m := r.upstream.passPatterns(); m == nil || !bytes.Equal(m.Body, good) {
		t.Error("relays below hear of another set")
	}
}

// A set that comes while the log is full is in force once there is room, without
// another word of the root.
func TestPatternsWaitForAFullLog(t *testing.T) {
	f := newFullRelay(t)
	defer func() { f.stop() }()
	if err := f.open(1); err != nil {
		t.Fatal(err)
	}
	f.fill(f.upkeep()...)
	f.rooted()
	body := patternsBody(t, 7, failover("silent-failover", ""))
	if err := f.upstream.answer(transport.Message{Kind: wire.KindPatterns, Body: body}); err != nil {
		t.Fatalf("a full log ends the session: %v", err)
	}
	if l := f.Patterns(); l.Version != 0 {
		t.Fatal("the log was not full")
	}
	f.settle(f.takesData)
	if err := f.pay(); err != nil {
		t.Fatal(err)
	}
	if l := f.Patterns(); l.Version != 7 {
		t.Errorf("version %d is in force", l.Version)
	}
}
