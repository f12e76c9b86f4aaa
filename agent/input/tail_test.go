package input

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pando/event"
)

func TestTailWaitsForTheEndOfALine(t *testing.T) {
	h := newTailing(t)
	h.starts(h.spec(), [event.Lanes][]event.Position{})
	h.polls() // the file is not there yet
	if s := h.tail.Status(); s.Readable || s.CaughtUp || s.Error == "" {
		t.Fatalf("a missing file: %+v", s)
	}
	h.writes(h.path, "one\r\ntwo\nthr")
	h.polls()
	h.expect("one", "two")
	h.writes(h.path, "ee\n")
	h.polls()
	h.expect("one", "two", "three")
	s := h.tail.Status()
	if !s.Readable || !s.CaughtUp || s.AsOf != h.now || s.Lag != 0 || s.Lines != 3 || s.Error != "" {
		t.Fatalf("at the end: %+v", s)
	}
}

func TestTailKeepsALineThatIsTooLong(t *testing.T) {
	h := newTailing(t)
	s := h.spec()
	s.MaxLine = 64
	h.writes(h.path, strings.Repeat("x", 64)+"\n"+strings.Repeat("y", 200)+"\nshort\n")
	h.starts(s, [event.Lanes][]event.Position{})
	h.polls()
	h.expect(strings.Repeat("x", 64), strings.Repeat("y", 64), "short")
	items := h.sink.taken()
	if cut := attr(&items[1].Event, AttrCut); cut != "136" {
		t.Errorf("cut %q bytes, want 136", cut)
	}
	if at := items[2].Position.Offset; at != 65+201+6 {
		t.Errorf("ends at %d", at)
	}
	if n := h.tail.Status().Dropped["line_cut_bytes"]; n != 136 {
		t.Errorf("counted %d", n)
	}
}

func TestTailFollowsRotation(t *testing.T) {
	h := newTailing(t)
	h.writes(h.path, "a\n")
	h.starts(h.spec(), [event.Lanes][]event.Position{})
	h.polls()
	// Three rotations between two polls, and late lines of a writer that still
	// holds the first file.
	h.writes(h.path, "b\n")
	h.rotates()
	h.writes(h.path, "c\n")
	h.rotates()
	h.writes(h.path, "d\n")
	h.rotates()
	h.writes(h.path, "e\n")
	h.polls()
	h.expect("a", "b", "c", "d", "e")
	h.writes(h.path+".3", "late\nlast without an end")
	h.polls()
	h.expect("a", "b", "c", "d", "e", "late")
	if n := len(h.tail.Status().Positions); n != 4 {
		t.Errorf("%d positions while four files are read", n)
	}
	h.waits(2 * testGrace)
	h.writes(h.path, "f\n")
	h.polls()
	h.expect("a", "b", "c", "d", "e", "late", "last without an end", "f")
	if n := len(h.durable()[0]); n != 1 {
		t.Errorf("%d positions are kept for one file", n)
	}
}

func TestTailFollowsTruncation(t *testing.T) {
	h := newTailing(t)
	h.writes(h.path, "same head\nb\n")
	h.starts(h.spec(), [event.Lanes][]event.Position{})
	h.polls()
	h.must(os.Truncate(h.path, 0))
	h.writes(h.path, "same head\n")
	h.polls()
	h.expect("same head", "b", "same head")
	// Overwritten by something longer, so that only the beginning tells.
	h.must(os.Truncate(h.path, 0))
	h.writes(h.path, "other head\nand more\nthan before\n")
	h.polls()
	h.expect("same head", "b", "same head", "other head", "and more", "than before")
	// Cut before it was read, and nothing left of it.
	h.writes(h.path, "not ended")
	h.polls()
	h.must(os.Truncate(h.path, 0))
	h.polls()
	if n := h.tail.Status().Dropped["truncated_bytes"]; n != 9 {
		t.Errorf("counted %d lost bytes, want 9", n)
	}
	h.starts(h.spec(), h.durable())
	h.writes(h.path, "after\n")
	h.polls()
	h.expect("after")
}

func TestTailReadsTheRestOfACopiedFile(t *testing.T) {
	h := newTailing(t)
	h.writes(h.path, "a\nb\n")
	h.starts(h.spec(), [event.Lanes][]event.Position{})
	h.polls()
	h.writes(h.path, "c\nd\n")
	h.copyTruncates()
	h.writes(h.path, "e\n")
	h.polls()
	h.expect("a", "b", "c", "d", "e")
	if lost := h.tail.Status().Dropped; len(lost) > 0 {
		t.Errorf("lost %v", lost)
	}
}

func TestTailStartsAtTheEndOnlyOnce(t *testing.T) {
	h := newTailing(t)
	s := h.spec()
	s.Start = StartEnd
	h.writes(h.path, "old\nold CRIT\nbegun")
	h.starts(s, [event.Lanes][]event.Position{})
	h.polls()
	h.writes(h.path, " before\nnew\n")
	h.polls()
	h.expect("begun before", "new")
	// The critical lane has no position yet: it must not go back to before the
	// start.
	known := h.durable()
	known[event.Critical] = nil
	h.starts(s, known)
	h.writes(h.path, "CRIT\n")
	h.polls()
	h.expect("CRIT")
}

func TestTailOfAPattern(t *testing.T) {
	h := newTailing(t)
	s := h.spec()
	s.Path = h.dir + "/*"
	h.writes(h.dir+"/a.log.1", "history\n")
	h.writes(h.dir+"/a.log", "a1\n")
	h.writes(h.dir+"/b.log", "b1\n")
	h.starts(s, [event.Lanes][]event.Position{})
	h.polls()
	h.expect("a1", "b1")
	// A rename within the pattern is no new file, and its successor is one.
	h.must(os.Rename(h.dir+"/b.log", h.dir+"/c.log"))
	h.writes(h.dir+"/c.log", "b2\n")
	h.writes(h.dir+"/b.log", "b3\n")
	h.waits(time.Second)
	h.waits(2 * testGrace)
	h.expect("a1", "b1", "b2", "b3")
	h.writes(h.dir+"/c.log", "c1\n")
	h.waits(time.Second)
	h.starts(s, h.durable())
	h.polls()
	h.expect()
	if st := h.tail.Status(); !st.CaughtUp || len(st.Positions) != 3 {
		t.Errorf("after the restart: %+v", st)
	}
}

func TestTailOfTooManyFilesSaysSo(t *testing.T) {
	h := newTailing(t)
	s := h.spec()
	s.Path, s.MaxFiles = h.dir+"/*.log", 2
	for i := range 3 {
		h.writes(fmt.Sprintf("%s/f%d.log", h.dir, i), "x\n")
	}
	h.starts(s, [event.Lanes][]event.Position{})
	h.polls()
	if st := h.tail.Status(); st.Readable || !strings.Contains(st.Error, "max_files") {
		t.Fatalf("status %+v", st)
	}
}

// TestTailWhileWriting runs the real loop against a writer that never waits.
func TestTailWhileWriting(t *testing.T) {
	h := newTailing(t)
	sink := &memory{}
	s := h.spec()
	s.Poll, s.Grace = time.Millisecond, 100*time.Millisecond
	src := running(t, Options{Spec: s, Sink: sink})
	const lines = 20_000
	var sum float64
	f, err := os.Create(h.path)
	h.must(err)
	until(t, "the file to be found", func() bool { return src.Status().Readable })
	for n := 1; n <= lines; n++ {
		_, err := fmt.Fprintf(f, "n=%d some text\n", n)
		h.must(err)
		sum += float64(n)
		if n%1500 == 0 {
			h.rotates()
			h.must(f.Close())
			f, err = os.Create(h.path)
			h.must(err)
		}
	}
	h.must(f.Close())
	defer func() {
		if t.Failed() {
			t.Logf("status %+v", src.Status())
		}
	}()
	until(t, "all lines", func() bool { return src.Status().Lines >= lines })
	until(t, "caught up", func() bool { return src.Status().CaughtUp })
	for _, it := range sink.taken() {
		sum -= it.Event.Value
	}
	if n := len(sink.taken()); n != lines || sum != 0 {
		t.Fatalf("%d lines of %d, sum off by %v", n, lines, sum)
	}
	sink.check(t)
}

func TestTailStopsReadingWhilePutBlocks(t *testing.T) {
	h := newTailing(t)
	for range 4 * tailPutItems {
		h.writes(h.path, "line\n")
	}
	sink := &memory{gate: make(chan struct{})}
	src := running(t, Options{Spec: h.spec(), Sink: sink})
	sink.gate <- struct{}{}
	until(t, "the first group", func() bool { return src.Status().Lines == tailPutItems })
	if n := len(sink.taken()); n != tailPutItems {
		t.Fatalf("%d items behind a closed gate", n)
	}
	if src.Status().CaughtUp {
		t.Fatal("caught up while Put blocks")
	}
	close(sink.gate)
	until(t, "the rest", func() bool { return src.Status().CaughtUp })
	if n := len(sink.taken()); n != 4*tailPutItems {
		t.Fatalf("%d items", n)
	}
}

func TestTailStamps(t *testing.T) {
	h := newTailing(t)
	s := h.spec()
	s.Pattern, s.Value = `at=(?P<at>\S+)`, ""
	s.SourceTime = &TimeSpec{Field: "at", Layout: "epoch_ns"}
	h.writes(h.path, "there before\n")
	h.starts(s, [event.Lanes][]event.Position{})
	h.polls()
	quiet := h.now
	h.now += int64(5 * time.Millisecond)
	h.writes(h.path, "at=1000000000 begun")
	h.polls()
	begun := h.now
	h.writes(h.path, " and ended\nnext\n")
	h.polls()
	h.waits(3 * time.Second) // idle
	idle := h.now
	h.writes(h.path, "late\n")
	h.now += int64(3 * time.Second) // the agent was stopped
	h.polls()
	it := h.sink.taken()
	if f := it[0].Event.Flags; f != event.OpenStart|event.Backlog {
		t.Errorf("what was there before: flags %b", f)
	}
	if st := it[1].Event.Stamp; st.Lo != quiet || st.Hi != begun+int64(10*time.Millisecond) || it[1].Event.Flags != event.PointFromSource {
		t.Errorf("a line in two parts: %+v flags %b, quiet at %d", st, it[1].Event.Flags, quiet)
	}
	if st := it[2].Event.Stamp; st.Lo != begun {
		t.Errorf("its successor: %+v, want lo %d", st, begun)
	}
	if st := it[3].Event.Stamp; st.Lo != idle || it[3].Event.Flags != event.Backlog {
		t.Errorf("read late: %+v flags %b", st, it[3].Event.Flags)
	}
	if c := it[1].Event.SourceTime; c != 1_000_000_000 {
		t.Errorf("source time %d", c)
	}
}
