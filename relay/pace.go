package relay

import (
	"slices"

	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
)

// pace is how often bulk sections go up, and how coarse their panes are. The
// root grants the relay a rate of bytes; the relay takes the steps below until
// it keeps to that, and comes back when there is room. Critical sections and
// findings never wait for it, and detectors see every event in any case.
type pace struct {
	granted uint64 // bytes a second; 0 while no root has said
	step    uint8  // index of paces
	since   int64  // root time since when sent is counted
	sent    uint64 // bytes of bulk sections

	// suspects are the series of findings that are going on, and until when in
	// root time: their panes stay as they are.
	suspects map[stream.Series]int64
}

// paces are the steps, from the one with room to spare to the one in need.
var paces = [...]struct {
	every int64       // nanoseconds between two sections of a unit
	panes stream.Pane // panes of 100 ms that are joined to one
}{
	{25e7, 10}, {5e8, 10}, {1e9, 10}, {2e9, 100}, {5e9, 600}, {10e9, 600},
}

const (
	// firstStep is once a second.
	firstStep = 2
	// paceEvery is how often the step is reconsidered, in nanoseconds, and
	// spare how many times below the grant a rate must be for a finer one.
	paceEvery = int64(2e9)
	spare     = 4
	// suspectFor is how long a series stays under suspicion after its last
	// finding, in nanoseconds; the same span joins findings to incidents.
	suspectFor = int64(600e9)
	// maxSuspects bounds them; beyond it the one that ends first goes.
	maxSuspects = 4096
)

func newPace() pace { return pace{step: firstStep, suspects: map[stream.Series]int64{}} }

func (p *pace) every() int64 { return paces[p.step].every }

// suspect takes note of findings.
func (p *pace) suspect(fs []anomaly.Finding, now int64) {
	for i := range fs {
		p.suspects[fs[i].Series] = now + suspectFor
	}
	for len(p.suspects) > maxSuspects {
		delete(p.suspects, p.order()[0])
	}
}

// order lists the suspects, those that end first first.
func (p *pace) order() []stream.Series {
	list := make([]stream.Series, 0, len(p.suspects))
	for s := range p.suspects {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b stream.Series) int {
		if d := p.suspects[a] - p.suspects[b]; d != 0 {
			return int(max(min(d, 1), -1))
		}
		return a.Compare(b)
	})
	return list
}

// take takes a bulk section's rows, as coarse as the step wants them.
func (p *pace) take(f *stream.Fold) stream.Rows {
	return f.TakeJoined(paces[p.step].panes, func(s stream.Series) bool {
		_, suspect := p.suspects[s]
		return suspect
	})
}

// tick takes the next step if one is due.
func (p *pace) tick(now int64) {
	if now < p.since || p.since == 0 {
		p.since, p.sent = now, 0
		return
	}
	passed := now - p.since
	if passed < max(paceEvery, 2*p.every()) {
		return
	}
	if p.granted > 0 {
		rate := p.sent * 1e9 / uint64(passed)
		switch {
		case rate > p.granted && int(p.step) < len(paces)-1:
			p.step++
		case rate*spare < p.granted && p.step > firstStep,
			rate*spare*spare < p.granted && p.step > 0:
			p.step--
		}
	}
	p.since, p.sent = now, 0
	for _, s := range p.order() {
		if p.suspects[s] > now {
			break
		}
		delete(p.suspects, s)
	}
}

func (p *pace) append(w *pack.Writer) {
	w.Uint(p.granted)
	w.Uint(uint64(p.step))
	w.Int(p.since)
	w.Uint(p.sent)
	w.Array(len(p.suspects))
	for _, s := range p.order() {
		w.String(s.Entity)
		w.String(s.Signal)
		w.Int(p.suspects[s])
	}
}

func readPace(r *pack.Reader) pace {
	p := newPace()
	p.granted, p.step = r.Uint("granted", maxSeq), uint8(r.Uint("pace", uint64(len(paces)-1)))
	p.since, p.sent = r.Int("paced since"), r.Uint("sent", maxSeq)
	for range r.Array("suspects", maxSuspects) {
		s := stream.Series{Entity: r.String("entity", maxText), Signal: r.String("signal", maxText)}
		p.suspects[s] = r.Int("suspect until")
		if r.Err() != nil {
			break
		}
	}
	return p
}
