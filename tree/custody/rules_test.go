package custody

import (
	"testing"

	"pando/event"
)

// span is the batch of a unit whose chain value at a sequence is that number.
func span(first, last uint64) Span {
	return Span{First: first, Last: last, Before: hashAt(first - 1), After: hashAt(last), Pos: first}
}

func hashAt(seq uint64) (h event.Hash) {
	h[0] = byte(seq)
	return h
}

func head(from, to uint64) Head {
	return Head{Unit: event.Unit{WAL: 1}, Term: Term{Epoch: 1, Session: 1}, Relay: "r", From: from, To: to, Before: hashAt(from - 1), After: hashAt(to)}
}

func TestJoin(t *testing.T) {
	for name, x := range map[string]struct {
		change func(b *Head)
		joins  bool
	}{
		"adjacent":      {func(*Head) {}, true},
		"another unit":  {func(b *Head) { b.Unit.Lane = event.Bulk }, false},
		"another term":  {func(b *Head) { b.Term.Session++ }, false},
		"another relay": {func(b *Head) { b.Relay = "s" }, false},
		"a rest":        {func(b *Head) { b.Rest = true }, false},
		"a gap":         {func(b *Head) { b.From++ }, false},
		"an overlap":    {func(b *Head) { b.From-- }, false},
		"another chain": {func(b *Head) { b.Before = hashAt(99) }, false},
		"one resumes":   {func(b *Head) { b.Resumes = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := head(1, 3), head(4, 5)
			a.Resumes = true
			x.change(&b)
			got, ok := Join(a, b)
			want := a
			if x.joins {
				want = head(1, 5)
				want.Resumes = true
			}
			if ok != x.joins || got != want {
				t.Errorf("joined %v to %+v, want %v %+v", ok, got, x.joins, want)
			}
		})
	}
}

func TestJoinedKeepsEveryEnd(t *testing.T) {
	var j Joined
	for _, h := range []Head{head(4, 5), head(6, 6), head(7, 9)} {
		if !j.Add(h) {
			t.Fatalf("%d to %d is not joined", h.From, h.To)
		}
	}
	if j.Add(head(11, 12)) || j.Head != head(4, 9) || len(j.Ends) != 3 || j.Ends[1] != 6 {
		t.Errorf("joined to %+v with the ends %v", j.Head, j.Ends)
	}
}

func TestRestoredOwnerGoesOn(t *testing.T) {
	owner := func() Owner { return Owner{Term: Term{Epoch: 1, Session: 1}, Relay: "r", Settled: 3, Chain: hashAt(3)} }
	for name, x := range map[string]struct {
		change  func(h *Head)
		verdict Verdict
		lost    Range
	}{
		"resumes":                {func(h *Head) { h.Resumes = true }, Apply, Range{4, 6}},
		"holds what is missing":  {func(*Head) {}, SkipPosition, Range{}},
		"resumes, another term":  {func(h *Head) { h.Resumes, h.Term.Session = true, 2 }, SkipTerm, Range{}},
		"resumes, another relay": {func(h *Head) { h.Resumes, h.Relay = true, "s" }, SkipTerm, Range{}},
		"the rest of what is open here": {func(h *Head) { h.Resumes, h.Rest, h.Relay = true, true, "s" },
			Apply, Range{4, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			o, h := owner(), head(7, 9)
			x.change(&h)
			v, lost := o.Judge(h)
			if v != x.verdict || lost != x.lost {
				t.Errorf("judged %q with %v lost, want %q with %v", v, lost, x.verdict, x.lost)
			}
			if settled := o.Settled; (v == Apply) != (settled == 9) {
				t.Errorf("settled at %d", settled)
			}
			if o.Closed != h.Rest {
				t.Errorf("closed %v", o.Closed)
			}
		})
	}
	o := owner()
	h := head(4, 5)
	h.Resumes, h.Before = true, hashAt(99)
	if v, _ := o.Judge(h); v != RefuseDiverge {
		t.Errorf("judged %q: that a section resumes excuses no other chain", v)
	}
}

// opened is an intake with a session that holds batches and the claim.
func opened(t *testing.T, o Offer, spans ...Span) *Intake {
	t.Helper()
	n := &Intake{EndOK: true}
	reopen(t, n, 1, o, spans...)
	return n
}

func reopen(t *testing.T, n *Intake, session uint64, o Offer, spans ...Span) {
	t.Helper()
	if _, err := n.OpenSession(Term{Epoch: 1, Session: session}, session, o); err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		if err := n.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	n.Step()
}

func TestUnvouchedGoesWithItsSession(t *testing.T) {
	for name, end := range map[string]func(n *Intake){
		"closed": (*Intake).CloseSession,
		"shut":   func(n *Intake) { _ = n.Shut(0, event.Hash{}) },
	} {
		t.Run(name, func(t *testing.T) {
			n := opened(t, Offer{From: 1, Last: 4, Synced: 2}, span(1, 2), span(3, 4))
			end(n)
			if len(n.Held) != 1 || n.End != 2 || n.EndHash != hashAt(2) || n.Live {
				t.Errorf("%+v", n)
			}
		})
	}
}

// A disk that was rolled back vouches for less than it did; what was vouched
// for then says nothing about what comes now.
func TestVouchedEndsWithItsSession(t *testing.T) {
	n := opened(t, Offer{From: 1, Last: 3, Synced: 3}, span(1, 1))
	n.CloseSession()
	reopen(t, n, 2, Offer{From: 1, Last: 2, Synced: 1}, span(2, 2))
	if n.Stepped != 1 || n.Durable() != 1 {
		t.Errorf("stepped %d, durable %d, the disk holds 1", n.Stepped, n.Durable())
	}
}

func TestWhatLiesBehindAGapWaits(t *testing.T) {
	n := opened(t, Offer{From: 3, Last: 5, Synced: 5}, span(3, 5))
	n.CloseSession()
	reopen(t, n, 2, Offer{From: 8, Last: 9, Synced: 9}, span(8, 9))
	if err := n.Granted(n.Term, 1, hashAt(1)); err != nil {
		t.Fatal(err)
	}
	cut := func() Head {
		spans := n.Section(9)
		if len(spans) == 0 {
			return Head{}
		}
		return n.Commit(event.Unit{}, "r", spans)
	}
	if h := cut(); h.From != 3 || h.To != 5 || !h.Resumes {
		t.Fatalf("first section %+v, want 3 to 5, which resumes", h)
	}
	if h := cut(); h != (Head{}) {
		t.Fatalf("section %+v leaves before 5 is settled", h)
	}
	if err := n.Applied(5, hashAt(5)); err != nil {
		t.Fatal(err)
	}
	if h := cut(); h.From != 8 || !h.Resumes {
		t.Fatalf("second section %+v, want one from 8, which resumes", h)
	}
}

func TestLateAnswersLeaveSettledAsItIs(t *testing.T) {
	n := opened(t, Offer{From: 1, Last: 6, Synced: 6}, span(1, 3), span(4, 6))
	for _, err := range []error{n.Granted(n.Term, 3, hashAt(3)), n.Applied(0, event.Hash{}), n.Skipped(3, 0, event.Hash{})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n.Commit(event.Unit{}, "r", n.Section(1))
	if n.Settled != 3 || n.Cut != 6 {
		t.Fatalf("settled %d, cut %d", n.Settled, n.Cut)
	}
	// A root that was restored skips what was cut: it goes out again.
	if err := n.Skipped(6, 1, hashAt(1)); err != nil {
		t.Fatal(err)
	}
	if s := n.Section(1); len(s) != 1 || s[0].First != 4 {
		t.Errorf("next section %+v, want 4 to 6 again", s)
	}
}
