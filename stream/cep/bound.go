package cep

import (
	"unsafe"

	"pando/event"
)

// Bound is the most memory, in bytes, that one pattern's state can take, and
// what it is made of:
//
//	Bytes = Keys · (Key + Runs · Run) + Scratch
//
// It holds for what the engine keeps; Go's collector adds garbage to that, by
// default as much again (GOGC). The names of units that evidence points to are
// kept once for the whole process and not counted.
type Bound struct {
	Keys, Runs int // the limits
	Key        int // of one key without its runs
	Run        int // of one run, alone in its state, with texts and evidence at their limits
	Scratch    int // of the one key that is being stepped
	Bytes      int
}

const (
	pointer = int(unsafe.Sizeof(uintptr(0)))
	// mapEntry is what a Go map takes for one key: string and pointer and a
	// control byte, at the least load that growing by doubling leaves, 7/16.
	mapEntry = (int(unsafe.Sizeof("")) + pointer + 1) * 16 / 7
)

// allocated is the size of what Go allocates for n bytes: its size classes
// waste at most an eighth (runtime/sizeclasses.go), below 64 bytes at most 16.
func allocated(n int) int { return n + max(n/8, 16) }

// Bound computes the pattern's bound out of its limits.
func (p *Pattern) Bound() Bound {
	types, _ := p.types()
	numbers, texts := 0, 0
	for _, t := range types {
		if t == Number {
			numbers++
		} else {
			texts++
		}
	}
	// A group keeps its state and a list of runs, which append may make twice
	// as long as it must be, and the key a list of groups likewise.
	b := Bound{Keys: p.Limits.Keys, Runs: p.Limits.Runs}
	b.Run = 2*int(unsafe.Sizeof(member{})) + allocated(int(unsafe.Sizeof(group{}))) + 2*allocated(int(unsafe.Sizeof(run{}))) +
		allocated(numbers*int(unsafe.Sizeof(int64(0)))) +
		allocated(texts*int(unsafe.Sizeof(""))) + texts*allocated(p.Limits.Text) +
		allocated(p.Limits.Events*int(unsafe.Sizeof(Ref{})))
	b.Key = mapEntry + allocated(int(unsafe.Sizeof(keyed{}))) + allocated(p.Limits.Text+len(p.Key)*3)
	// Each run may come to its step again and to every later one at once.
	b.Scratch = (len(p.Steps) + 1) * b.Runs * b.Run
	b.Bytes = b.Keys*(b.Key+b.Runs*b.Run) + b.Scratch
	return b
}

// Bytes is the most memory, in bytes, that an engine takes which runs the set.
func (s *Set) Bytes(o *Options) int {
	n := s.Shared(o)
	for _, p := range s.patterns {
		n += p.Bound().Bytes
	}
	return n
}

// Shared is the most memory, in bytes, that an engine takes for all patterns of
// the set together: events that wait for the watermark, and the table of recent
// series.
func (s *Set) Shared(o *Options) int {
	each := 2*int(unsafe.Sizeof(held{})) + 2*pointer + allocated(int(unsafe.Sizeof(Event{})))
	series := int(unsafe.Sizeof(answer{})) + 2*allocated(event.MaxName) + allocated(len(s.patterns)*int(unsafe.Sizeof(interest{})))
	return (o.Buffered+1)*each + 2*o.BufferedBytes + recentAnswers*series
}
