package anomaly

import (
	"errors"
	"fmt"
	"math"

	"pando/internal/pack"
	"pando/stream/detect"
)

// maxTestState bounds the state of one test within itself, in bytes: a level's,
// with its values, is the longest.
const maxTestState = 16 << 10

// state is the test's own.
func (t *test) state() interface {
	Snapshot(*pack.Writer)
	Restore(*pack.Reader) error
} {
	switch {
	case t.rate != nil:
		return t.rate
	case t.ratio != nil:
		return t.ratio
	}
	return t.level
}

func appendUnderWay(w *pack.Writer, t *test) {
	appendTestKey(w, t.key)
	w.Uint(t.spec.counts)
	w.Uint(t.spec.options)
	w.Int(t.touched)
	w.Int(t.at)
	w.Uint(t.stretch)
	w.Uint(uint64(t.changed))
	w.Bool(t.finding != nil)
	if t.finding != nil {
		AppendFinding(w, *t.finding)
	}
	w.Array(len(t.trail.marks))
	for i := range t.trail.marks {
		appendMark(w, &t.trail.marks[i])
	}
	w.Int(t.tick)
	w.Uint(uint64(t.count))
	if t.count > 0 {
		appendMark(w, &t.present)
	}
	t.volumes.append(w)
	known := t.known()
	known.learnt.Append(w)
	w.Uint(uint64(known.alternative))
	state := pack.NewWriter()
	t.state().Snapshot(state)
	w.Bin(state.Bytes())
}

// readUnderWay reads what appendUnderWay wrote. A test that the configuration
// does not have any more, or that counts something else now, is dropped (nil),
// and its finding ends; one of other options keeps what it has learnt.
func (e *Engine) readUnderWay(r *pack.Reader) (testKey, *test) {
	key := readTestKey(r)
	k := Test{key: key, counts: r.Uint("what is counted", math.MaxUint64)}
	options := r.Uint("options", math.MaxUint64)
	t := &test{key: key, touched: readTime(r, "touched"), at: readTime(r, "stepped"), stretch: r.Uint("stretch", math.MaxUint64)}
	t.changed = readTime(r, "changed")
	if r.Bool("finding") {
		f := ReadFinding(r)
		t.finding = &f
	}
	for n := r.Array("marks", maxMarks); n > 0 && r.Err() == nil; n-- {
		t.trail.marks = append(t.trail.marks, readMark(r))
	}
	t.tick = int64(r.Uint("tick", math.MaxInt64/2/uint64(detect.Tick)))
	if t.count = int64(r.Uint("events of a tick", math.MaxInt64/2)); t.count > 0 {
		t.present = readMark(r)
	}
	t.volumes = readVolumes(r)
	k.at, k.changed, k.learnt = t.at, t.changed, detect.ReadLearnt(r)
	k.alternative = int(r.Uint("alternative", uint64(detect.Alternatives)-1))
	state := r.Bin("state", maxTestState)
	if r.Err() != nil {
		return key, nil
	}
	if t.open() {
		k.open = t.finding
	}
	if t.spec = e.spec(&k); t.spec == nil {
		e.endUntested(k.open, "no longer looked for")
		return key, nil
	}
	fresh, err := newTest(t.spec, key)
	if err != nil {
		r.Fail("test", err)
		return key, nil
	}
	if t.spec.options != options {
		fresh.touched, fresh.stretch = t.touched, t.stretch
		e.inherit(fresh, &k)
		return key, fresh
	}
	t.rate, t.ratio, t.level = fresh.rate, fresh.ratio, fresh.level
	inner := pack.NewReader(state)
	if err := errors.Join(t.state().Restore(inner), inner.Done()); err != nil {
		r.Fail("state", err)
	}
	if in := t.intensity(); in != nil && r.Err() == nil {
		if _, open := in.Open(); open != t.open() || (t.count > 0 && t.rate == nil) || (len(t.volumes.list) > 0 && t.ratio == nil) {
			r.Fail("state", fmt.Errorf("is not of the finding of test %q", key.name))
		}
	}
	return key, t
}
