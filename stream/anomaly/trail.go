package anomaly

import (
	"errors"

	"pando/event"
	"pando/internal/pack"
)

// maxMarks bounds what a test remembers of the events since evidence began to
// gather: enough to tell the moment of an onset to a sixteenth of that span.
const maxMarks = 16

// trail leads from the evidence of a test back to the events it came from, and
// to their time. It reaches back to where the evidence begins, and gets coarser
// as that lies longer ago.
type trail struct{ marks []mark }

// mark is a run of events that one or several steps took in.
type mark struct {
	to   int64 // where it ends in what the test counts by: root time, requests or samples
	time int64 // root time at which it began
	refs [event.Lanes]seqs
}

// seqs is a range of events of the unit that a lane has open, both ends
// included; sequences count from 1, so zero is none.
type seqs struct{ from, to uint64 }

// see adds an event.
func (m *mark) see(lane event.Lane, seq uint64) {
	r := &m.refs[lane]
	if r.from == 0 || seq < r.from {
		r.from = seq
	}
	r.to = max(r.to, seq)
}

// join adds a later mark.
func (m *mark) join(n *mark) {
	m.to = n.to
	for l, r := range n.refs {
		if r.from == 0 {
			continue
		}
		m.see(event.Lane(l), r.from)
		m.see(event.Lane(l), r.to)
	}
}

// add keeps a mark. Those that end before since are of no evidence any more.
func (t *trail) add(m mark, since int64) {
	old := 0
	for old < len(t.marks) && t.marks[old].to <= since {
		old++
	}
	if old > 0 {
		t.marks = t.marks[:copy(t.marks, t.marks[old:])]
	}
	if m.to <= since {
		return
	}
	if len(t.marks) == maxMarks {
		for i := range maxMarks / 2 {
			t.marks[i] = t.marks[2*i]
			t.marks[i].join(&t.marks[2*i+1])
		}
		t.marks = t.marks[:maxMarks/2]
	}
	t.marks = append(t.marks, m)
}

// forgetRefs keeps the times alone: the units of the events may be others now.
func (t *trail) forgetRefs() {
	for i := range t.marks {
		t.marks[i].refs = [event.Lanes]seqs{}
	}
}

// back returns the root time of what came after from, or else now, and the
// events since then.
func (t *trail) back(from, now int64) (time int64, refs [event.Lanes]seqs) {
	var all mark
	for i := len(t.marks) - 1; i >= 0 && t.marks[i].to > from; i-- {
		m := t.marks[i]
		now = m.time
		m.join(&all)
		all = m
	}
	return now, all.refs
}

func appendMark(w *pack.Writer, m *mark) {
	w.Int(m.to)
	w.Int(m.time)
	for _, r := range m.refs {
		w.Uint(r.from)
		w.Uint(r.to)
	}
}

func readMark(r *pack.Reader) mark {
	const most = 1<<64 - 1
	m := mark{to: r.Int("end of a mark"), time: r.Int("time of a mark")}
	for l := range m.refs {
		s := seqs{r.Uint("first event", most), r.Uint("last event", most)}
		if r.Err() == nil && (s.from > s.to || s.from == 0 && s.to > 0) {
			r.Fail("events of a mark", errors.New("out of order"))
		}
		m.refs[l] = s
	}
	return m
}
