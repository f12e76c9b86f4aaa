package input

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pando/event"
)

var seeds = flag.Int("seeds", 60, "random stories of writing, rotation and restarts to try")

// TestTailExactlyOnce writes, rotates both ways, and restarts a tail at
// arbitrary points with positions that lag behind by lane, and wants each line
// exactly once.
func TestTailExactlyOnce(t *testing.T) {
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newStory(t, rand.New(rand.NewPCG(seed, 1)))
			for range 8 {
				s.lives()
			}
			s.ends()
		})
	}
}

// story is a writer, and an agent that crashes.
type story struct {
	*tailing
	r       *rand.Rand
	written int    // lines
	rest    string // of the last line, not yet written
	durable [event.Lanes]*Positions
	kept    map[float64]int // how often each line became durable
}

// newStory begins with one line that is durable: where no position is known,
// rotated files are history and not read.
func newStory(t *testing.T, r *rand.Rand) *story {
	s := &story{tailing: newTailing(t), r: r, kept: map[float64]int{}}
	for l := range s.durable {
		s.durable[l] = NewPositions(nil)
	}
	s.writes(s.path, s.line())
	s.resumes()
	s.polls()
	s.crashes(true)
	return s
}

func (s *story) resumes() {
	s.starts(s.spec(), [event.Lanes][]event.Position{s.durable[0].List(), s.durable[1].List()})
}

func (s *story) line() string {
	s.written++
	word := "info"
	if s.r.IntN(3) == 0 {
		word = "CRIT"
	}
	return fmt.Sprintf("n=%d %s %s\n", s.written, word, strings.Repeat("-", s.r.IntN(40)))
}

// scribbles writes some lines, the last maybe not to its end.
func (s *story) scribbles() {
	text := s.rest
	for range s.r.IntN(30) {
		text += s.line()
	}
	cut := len(text) - s.r.IntN(min(len(text), 12)+1)
	s.rest = text[cut:]
	s.writes(s.path, text[:cut])
}

func (s *story) endsLine() {
	if s.rest != "" {
		s.writes(s.path, s.rest)
		s.rest = ""
	}
}

// lives is one life of the agent.
func (s *story) lives() {
	s.resumes()
	for range s.r.IntN(12) {
		switch s.r.IntN(6) {
		case 0:
			s.endsLine()
			s.rotates()
		case 1:
			s.endsLine()
			if s.lastWasEmpty() {
				s.polls()
			}
			s.copyTruncates()
		case 2, 3:
			s.polls()
		default:
			s.scribbles()
		}
	}
	if s.r.IntN(3) > 0 {
		s.crashes(false)
		return
	}
	// Now and then everything becomes durable, and rotated files are closed.
	s.endsLine()
	s.polls()
	s.crashes(true)
	s.resumes()
	s.polls()
	s.waits(2 * testGrace)
	s.scribbles()
	s.polls()
	s.crashes(true)
}

// lastWasEmpty tells of the one thing that a tail cannot notice: what came into
// a file that was empty, and was copied away and cut, all between two polls.
func (s *story) lastWasEmpty() bool {
	files := s.tail.lineages[0].files
	return len(files) > 0 && files[len(files)-1].id.length == 0
}

// crashes keeps of each lane what was durable, and forgets the rest.
func (s *story) crashes(all bool) {
	items := s.sink.taken()
	for l := range s.durable {
		upTo := len(items)
		if !all {
			upTo = s.r.IntN(len(items) + 1)
		}
		for i := range items[:upTo] {
			s.durable[l].Apply(&items[i])
			if int(items[i].Event.Lane()) == l {
				s.kept[items[i].Event.Value]++
			}
		}
	}
	s.sink.check(s.T)
}

func (s *story) ends() {
	s.endsLine()
	s.resumes()
	s.polls()
	s.crashes(true)
	for n := 1; n <= s.written; n++ {
		if times := s.kept[float64(n)]; times != 1 {
			s.Errorf("line %d of %d: durable %d times", n, s.written, times)
		}
	}
	if len(s.kept) != s.written {
		s.Errorf("%d distinct lines, %d were written", len(s.kept), s.written)
	}
}

func TestPlan(t *testing.T) {
	head := func(text string) []byte { return []byte(strings.Repeat(text, headBytes)[:headBytes]) }
	a := candidate{key: fileKey{1, 10}, size: 1000, head: head("a")}
	b := candidate{key: fileKey{1, 11}, size: 1000, head: head("b")}
	c := candidate{key: fileKey{1, 12}, size: 1000, head: head("c")}
	at := func(f candidate, offset int64) mark {
		return mark{identity: identify(f.key, 1, 0, f.head), offset: offset}
	}
	moved := a
	moved.key.dev = 2
	reused := b
	reused.key = a.key
	type lanes = [event.Lanes][]mark
	for _, p := range []struct {
		name   string
		files  []candidate
		resume lanes
		want   string // index: critical, bulk
	}{
		{"newer files are unread, older ones done", []candidate{a, b, c}, lanes{{at(b, 5)}, {at(b, 7)}}, "1: 5,7 2: 0,0"},
		{"a lane that is ahead skips files", []candidate{a, b, c}, lanes{{at(a, 5)}, {at(c, 7)}}, "0: 5,done 1: 0,done 2: 0,7"},
		{"a lane without positions goes with the other", []candidate{a, b, c}, lanes{nil, {at(b, 7)}}, "1: 0,7 2: 0,0"},
		{"the files known are gone", []candidate{b, c}, lanes{{at(a, 5)}, {at(a, 7)}}, "0: 0,0 1: 0,0"},
		{"the device got another number", []candidate{moved, b}, lanes{{at(a, 5)}, {at(a, 7)}}, "0: 5,7 1: 0,0"},
		{"the inode is another file's now", []candidate{reused}, lanes{{at(a, 5)}, {at(a, 7)}}, "0: 0,0"},
		{"no file is as long as the position", []candidate{a}, lanes{{at(a, 5000)}, {at(a, 5000)}}, "0: 0,0"},
	} {
		var got []string
		for _, s := range plan(p.files, p.resume, true) {
			text := fmt.Sprintf("%d: %d,%d", s.index, s.done[0], s.done[1])
			got = append(got, strings.ReplaceAll(text, fmt.Sprint(int64(allDone)), "done"))
		}
		if strings.Join(got, " ") != p.want {
			t.Errorf("%s: %s, want %s", p.name, strings.Join(got, " "), p.want)
		}
	}
}

func TestRotatedFilesAreSorted(t *testing.T) {
	order := func(s ...sibling) string {
		sortSiblings(s)
		var names []string
		for _, b := range s {
			names = append(names, b.suffix)
		}
		return strings.Join(names, " ")
	}
	if got := order(sibling{suffix: ".1"}, sibling{suffix: ".10"}, sibling{suffix: ".2", mtime: 9}); got != ".10 .2 .1" {
		t.Errorf("numbers: %s", got)
	}
	if got := order(sibling{suffix: "-20261123", mtime: 2}, sibling{suffix: ".1", mtime: 3}, sibling{suffix: "-20261122", mtime: 2}); got != "-20261122 -20261123 .1" {
		t.Errorf("dates: %s", got)
	}
	for suffix, want := range map[string]bool{".1": true, "-20261123": true, ".2026-11-23T04:40": true, ".old": true, ".1.gz": false, "-error": false, ".log": false, "": false} {
		if rotatedName().MatchString(suffix) != want {
			t.Errorf("%q: rotated is not %v", suffix, want)
		}
	}
}

// TestIdleTailsKeepTheirPlace restarts a tail whose file is idle, and one whose
// file system is mounted late.
func TestIdleTailsKeepTheirPlace(t *testing.T) {
	h := newTailing(t)
	h.writes(h.path, "a\nb\n")
	h.starts(h.spec(), [event.Lanes][]event.Position{})
	h.polls()
	known := h.durable()
	aside := h.dir + "/elsewhere"
	h.must(os.Rename(h.path, aside))
	h.starts(h.spec(), known)
	h.polls()
	h.waits(time.Minute)
	h.must(os.Rename(aside, h.path))
	h.writes(h.path, "c\n")
	h.polls()
	h.expect("c")
	if got := h.durable()[0]; len(got) != 1 || !slices.ContainsFunc(got, func(p event.Position) bool { return p.Offset == 6 }) {
		t.Errorf("positions %+v", got)
	}
}
