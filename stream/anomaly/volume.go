package anomaly

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"pando/internal/pack"
	"pando/stream"
)

const (
	// volumeWidth is the span of event time, in nanoseconds, by which requests
	// and failures are brought together: below a heartbeat's interval, which
	// is what they wait for. That of a pane, so that a part of a batch lies in one.
	volumeWidth = int64(stream.PaneNanos)
	// maxVolumes bounds how many wait. A lane that lags by more makes them wider.
	maxVolumes = 32
)

// volumes are the requests of one entity that wait until both lanes of their
// source are past them: failures may come by another lane than the rest.
type volumes struct {
	width int64    // of each, nanoseconds; volumeWidth while there is room
	list  []volume // by time
}

// volume counts in one aligned span of event time.
type volume struct {
	at       int64 // its beginning / width
	requests int64
	failed   int64
	mark     mark
}

// of returns the volume of an event time. Latecomers make a volume of their own,
// which is taken next.
func (s *volumes) of(point int64) *volume {
	if len(s.list) == 0 {
		s.width = volumeWidth
	}
	at := point / s.width
	if n := len(s.list); n > 0 && s.list[n-1].at == at {
		return &s.list[n-1] // as nearly always
	}
	i, found := slices.BinarySearchFunc(s.list, at, func(x volume, at int64) int { return cmp.Compare(x.at, at) })
	if found {
		return &s.list[i]
	}
	if len(s.list) == maxVolumes {
		s.widen()
		return s.of(point)
	}
	s.list = slices.Insert(s.list, i, volume{at: at, mark: mark{time: point}})
	return &s.list[i]
}

// widen doubles the width, which may bring two volumes together.
func (s *volumes) widen() {
	s.width *= 2
	n := 0
	for _, x := range s.list {
		x.at /= 2
		if n > 0 && s.list[n-1].at == x.at {
			last := &s.list[n-1]
			last.requests += x.requests
			last.failed += x.failed
			last.mark.join(&x.mark)
			continue
		}
		s.list[n] = x
		n++
	}
	s.list = s.list[:n]
}

// end is the event time at which the first volume is whole.
func (s *volumes) end() int64 {
	if len(s.list) == 0 {
		return math.MaxInt64
	}
	return (s.list[0].at + 1) * s.width
}

// take removes the first volume.
func (s *volumes) take() volume {
	first := s.list[0]
	s.list = s.list[:copy(s.list, s.list[1:])]
	return first
}

func (s *volumes) append(w *pack.Writer) {
	w.Array(len(s.list))
	if len(s.list) > 0 {
		w.Uint(uint64(s.width))
	}
	for i := range s.list {
		x := &s.list[i]
		w.Uint(uint64(x.at))
		w.Uint(uint64(x.requests))
		w.Uint(uint64(x.failed))
		appendMark(w, &x.mark)
	}
}

func readVolumes(r *pack.Reader) volumes {
	var s volumes
	n := r.Array("volumes", maxVolumes)
	if n == 0 {
		return s
	}
	s.width = int64(max(1, r.Uint("width", math.MaxInt64/4)))
	for i := 0; i < n && r.Err() == nil; i++ {
		x := volume{
			at:       int64(r.Uint("volume", uint64(math.MaxInt64/2/s.width))),
			requests: int64(r.Uint("requests", math.MaxInt64/64)),
			failed:   int64(r.Uint("failures", math.MaxInt64/64)),
			mark:     readMark(r),
		}
		if r.Err() == nil && i > 0 && s.list[i-1].at >= x.at {
			r.Fail("volumes", errors.New("not in order"))
		}
		s.list = append(s.list, x)
	}
	return s
}
