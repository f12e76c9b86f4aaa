package stream

import (
	"cmp"
	"sync"

	"pando/event"
)

// Numbering gives each line of a unit a number that it keeps from batch to
// batch, from 0. Whoever remembers something of a line has it in a list, at that
// place, and one lookup serves all of them. The numbers only make that fast:
// no outcome depends on them. Safe for concurrent use.
type Numbering struct {
	mu sync.RWMutex
	of map[lineNames]uint32
}

// lineNames is a [Line] that is hashed fast.
type lineNames struct{ source, entity, signal, peer event.Name }

// NewNumbering returns a numbering without any line.
func NewNumbering() *Numbering { return &Numbering{of: make(map[lineNames]uint32)} }

// Len is how many lines have a number.
func (n *Numbering) Len() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.of)
}

// number appends the numbers of a batch's lines to numbers, and reports whether all
// have one. It gives none out unless it is to.
func (n *Numbering) number(c *Combined, numbers []uint32, give bool) (_ []uint32, all bool) {
	all = true
	n.mu.RLock()
	for i := range c.lines {
		at, known := n.of[c.names(i)]
		if !known {
			at, all = noNumber, false
		}
		numbers = append(numbers, at)
	}
	n.mu.RUnlock()
	if all || !give {
		return numbers, all
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range c.lines {
		if numbers[i] != noNumber {
			continue
		}
		l := c.names(i)
		at, known := n.of[l]
		if !known {
			at = uint32(len(n.of))
			n.of[l] = at
		}
		numbers[i] = at
	}
	return numbers, true
}

// names are those of the line at a place.
func (c *Combined) names(place int) lineNames {
	b, l := c.batch, &c.lines[place]
	return lineNames{b.Source.Names[l.source], b.Entity.Names[l.entity], b.Signal.Names[l.signal], b.Peer.Names[l.peer]}
}

const noNumber = 1<<32 - 1

// maxRemembered bounds the entries of a [Memory], beside those of the unit at hand:
// as many as there are lines with a number at a relay.
const maxRemembered = 1 << 19

// Memory is what one engine remembers of lines: a T for each, by the numbering
// of its unit and by its number. It is a cache: when it is full it forgets the units
// that it was not asked for lately. The zero value is ready. Not safe for concurrent
// use.
type Memory[T any] struct {
	of    map[*Numbering]*remembered[T]
	total int
	asked uint64 // how often
	most  int    // 0: maxRemembered
}

type remembered[T any] struct {
	list  []T
	asked uint64 // when last
}

// Of returns the list of a batch's unit, which is long enough for the lines of
// the batch, and valid until the next call.
func (m *Memory[T]) Of(c *Combined) []T {
	if m.of == nil {
		m.of = make(map[*Numbering]*remembered[T])
	}
	r := m.of[c.by]
	if r == nil {
		r = &remembered[T]{}
		m.of[c.by] = r
	}
	m.asked++
	r.asked = m.asked
	if more := c.numbers - len(r.list); more > 0 {
		r.list = append(r.list, make([]T, more)...)
		m.total += more
		m.shrink(c.by)
	}
	return r.list
}

// shrink forgets other units than one.
func (m *Memory[T]) shrink(but *Numbering) {
	for m.total > cmp.Or(m.most, maxRemembered) && len(m.of) > 1 {
		var oldest *Numbering
		for by, r := range m.of {
			if by != but && (oldest == nil || r.asked < m.of[oldest].asked) {
				oldest = by
			}
		}
		m.total -= len(m.of[oldest].list)
		delete(m.of, oldest)
	}
}

// Forget empties the memory.
func (m *Memory[T]) Forget() {
	clear(m.of)
	m.total = 0
}
