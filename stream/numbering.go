package stream

import (
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

// number appends the numbers of lines to numbers.
func (n *Numbering) number(lines []lineNames, numbers []uint32) []uint32 {
	missing := false
	n.mu.RLock()
	for _, l := range lines {
		at, known := n.of[l]
		if !known {
			at, missing = noNumber, true
		}
		numbers = append(numbers, at)
	}
	n.mu.RUnlock()
	if !missing {
		return numbers
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, l := range lines {
		if numbers[i] != noNumber {
			continue
		}
		at, known := n.of[l]
		if !known {
			at = uint32(len(n.of))
			n.of[l] = at
		}
		numbers[i] = at
	}
	return numbers
}

const noNumber = 1<<32 - 1

// maxRemembered bounds the entries of a [Memory] and, with the lines of a batch,
// those of one unit's.
const maxRemembered = 1 << 17

// Memory is what one engine remembers of lines: a T for each, by the numbering
// of its unit and by its number. It is a cache that forgets everything when it
// is full. The zero value is ready. Not safe for concurrent use.
type Memory[T any] struct {
	of    map[*Numbering][]T
	total int
}

// Of returns the list of a batch's unit, which is long enough for the lines of
// the batch, and valid until the next call.
func (m *Memory[T]) Of(c *Combined) []T {
	list := m.of[c.by]
	if c.numbers <= len(list) {
		return list
	}
	if m.total+c.numbers-len(list) > maxRemembered {
		m.Forget()
		list = nil
	}
	if m.of == nil {
		m.of = make(map[*Numbering][]T)
	}
	m.total += c.numbers - len(list)
	list = append(list, make([]T, c.numbers-len(list))...)
	m.of[c.by] = list
	return list
}

// Forget empties the memory.
func (m *Memory[T]) Forget() {
	clear(m.of)
	m.total = 0
}
