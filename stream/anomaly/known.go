package anomaly

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"

	"pando/event"
	"pando/internal/pack"
	"pando/stream/detect"
)

const (
	// MaxTests bounds the tests of one origin.
	MaxTests = 4096
	// maxTaught bounds what of them is told to the root, in encoded bytes:
	// about a thousand usual ones, in half the room that it has for an origin. What
	// is cut off is learnt anew after a move.
	maxTaught = 128 << 10
)

// Test is what is known of one test of a series or entity: its baseline, and the
// finding that is not over. The evidence that gathers does not travel: a change
// that began just before a move is found a little later.
type Test struct {
	key     testKey
	source  string
	counts  uint64 // as in spec
	at      int64  // root time up to which it learnt
	learnt  detect.Learnt
	changed int64 // root time at which open began, or the last one ended; 0: never
	// alternative is what of the test's alternatives is open.
	alternative int
	open        *Finding // immutable
}

func (t *Test) compareKey(u *Test) int {
	return cmp.Or(strings.Compare(t.source, u.source), t.key.compare(u.key))
}

// mergeTest joins two views of one test. What was learnt is taken from whoever
// learnt last, who had the knowledge of those before; and of findings the last
// word counts.
func mergeTest(t, u Test) Test {
	if cmp.Or(cmp.Compare(t.at, u.at), cmp.Compare(t.counts, u.counts), t.learnt.Compare(u.learnt)) < 0 {
		t.at, t.counts, t.learnt = u.at, u.counts, u.learnt
	}
	if cmp.Or(cmp.Compare(t.changed, u.changed), cmp.Compare(t.alternative, u.alternative), compareOpen(t.open, u.open)) < 0 {
		t.changed, t.alternative, t.open = u.changed, u.alternative, u.open
	}
	return t
}

func compareOpen(f, g *Finding) int {
	if f == nil || g == nil {
		switch {
		case f == g:
			return 0
		case f == nil:
			return -1
		}
		return 1
	}
	a, b := pack.NewWriter(), pack.NewWriter()
	AppendFinding(a, *f)
	AppendFinding(b, *g)
	return bytes.Compare(a.Bytes(), b.Bytes())
}

// known is what of a test is worth telling.
func (t *test) known() Test {
	k := Test{key: t.key, source: t.source.name, counts: t.spec.counts, at: t.at, changed: t.changed}
	if in := t.intensity(); in != nil {
		k.learnt = in.Learnt()
	}
	if t.open() {
		k.open = t.finding
		if in := t.intensity(); in != nil {
			k.alternative, _ = in.Open()
		}
	}
	return k
}

// knownTests is what is known of the tests of an origin, as much as may be
// told: those with findings before others.
func (o *origin) knownTests() []Test {
	var list []Test
	size := pack.NewWriter()
	for _, open := range []bool{true, false} {
		for _, s := range o.sortedSources() {
			for _, t := range s.sortedTests() {
				k := t.known()
				if (k.open != nil) != open || k.changed == 0 && k.learnt.Exposure() == 0 {
					continue
				}
				if appendTest(size, &k); size.Len() > maxTaught {
					break
				}
				list = append(list, k)
			}
		}
	}
	slices.SortFunc(list, func(t, u Test) int { return t.compareKey(&u) })
	return list
}

// recall takes in what the root knows of a test.
func (e *Engine) recall(o *origin, k *Test) {
	src, spec := o.source(k.source), e.spec(k)
	if src == nil || spec == nil {
		if src == nil {
			e.refused.Tests++
		}
		e.endUntested(k.open, "no longer looked for")
		return
	}
	t := e.test(o, src, spec, k.key.series)
	if t == nil {
		e.refused.Tests++
		e.endUntested(k.open, "no room to look further")
		return
	}
	e.inherit(t, k)
	if t.rate != nil {
		src.due = math.MinInt64
	}
}

// spec is the configured test of what was counted, nil if there is none.
func (e *Engine) spec(k *Test) *spec {
	for i := range e.specs {
		if s := &e.specs[i]; s.kind == k.key.kind && s.name == k.key.name && s.counts == k.counts {
			return s
		}
	}
	return nil
}

// inherit lets a test go on with what another one knew, as far as that is
// later.
func (e *Engine) inherit(t *test, k *Test) {
	in := t.intensity()
	if in != nil && k.at > t.at && k.learnt.Exposure() > 0 {
		alternative, open := in.Open()
		in.Know(k.learnt)
		if open {
			in.Resume(alternative)
		}
	}
	t.at = max(t.at, k.at)
	if k.changed <= t.changed {
		return
	}
	switch {
	case in == nil && (t.open() || k.open != nil):
		t.level.Restart()
	case in != nil && t.open():
		in.Close()
	}
	t.changed = k.changed
	if t.finding = k.open; k.open == nil || in != nil && in.Resume(k.alternative) {
		return
	}
	f := k.open.revise()
	f.Ended, f.Summary = true, clip(f.Summary+"; learnt anew since", MaxText)
	t.say(f, e.now)
	e.pending = append(e.pending, *f)
}

// endUntested ends a finding that nobody here can follow. The claims of both
// lanes tell of it; once is enough.
func (e *Engine) endUntested(open *Finding, why string) {
	if open == nil || slices.ContainsFunc(e.pending, func(f Finding) bool { return f.ID == open.ID }) {
		return
	}
	f := open.revise()
	f.Ended, f.Summary = true, clip(f.Summary+"; "+why, MaxText)
	e.pending = append(e.pending, *f)
}

func appendTest(w *pack.Writer, t *Test) {
	w.String(t.source)
	appendTestKey(w, t.key)
	w.Uint(t.counts)
	w.Uint(uint64(t.at))
	t.learnt.Append(w)
	w.Uint(uint64(t.changed))
	w.Bool(t.open != nil)
	if t.open != nil {
		w.Uint(uint64(t.alternative))
		AppendFinding(w, *t.open)
	}
}

func readTest(r *pack.Reader) Test {
	t := Test{
		source: readText(r, "source", event.MaxName),
		key:    readTestKey(r),
		counts: r.Uint("what is counted", math.MaxUint64),
		at:     readTime(r, "learnt up to"),
		learnt: detect.ReadLearnt(r),
	}
	t.changed = readTime(r, "changed")
	if r.Bool("open") {
		t.alternative = int(r.Uint("alternative", uint64(detect.Alternatives)-1))
		f := ReadFinding(r)
		t.open = &f
	}
	if r.Err() == nil && t.open != nil && t.open.Ended {
		r.Fail("open", errors.New("a finding that ended"))
	}
	return t
}

func appendTestKey(w *pack.Writer, k testKey) {
	w.Uint(uint64(k.kind))
	w.String(k.name)
	appendSeries(w, k.series)
}

func readTestKey(r *pack.Reader) testKey {
	return testKey{kind(r.Uint("test", uint64(kindEnd)-1)), readText(r, "name", MaxRuleName), readSeries(r)}
}
