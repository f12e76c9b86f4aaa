package cep

// buffer holds events until their time is stepped: a binary heap by time,
// unit, sequence, and at last by arrival.
type buffer struct {
	heap    []held
	bytes   int    // of the events' texts
	arrived uint64 // events that ever came
}

type held struct {
	event     *Event
	interests []interest // of the patterns in force; shared
	size      int
	arrival   uint64
}

func (h *held) before(g *held) bool {
	if by := h.event.compare(g.event); by != 0 {
		return by < 0
	}
	return h.arrival < g.arrival
}

func (b *buffer) len() int { return len(b.heap) }

func (b *buffer) first() *Event { return b.heap[0].event }

func (b *buffer) push(ev *Event, interests []interest, size int) {
	b.arrived++
	b.bytes += size
	b.heap = append(b.heap, held{ev, interests, size, b.arrived})
	for i := len(b.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !b.heap[i].before(&b.heap[parent]) {
			return
		}
		b.heap[i], b.heap[parent] = b.heap[parent], b.heap[i]
		i = parent
	}
}

func (b *buffer) pop() held {
	top, last := b.heap[0], len(b.heap)-1
	b.heap[0], b.heap[last] = b.heap[last], held{}
	b.heap = b.heap[:last]
	b.bytes -= top.size
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && b.heap[child+1].before(&b.heap[child]) {
			child++
		}
		if !b.heap[child].before(&b.heap[i]) {
			return top
		}
		b.heap[i], b.heap[child] = b.heap[child], b.heap[i]
		i = child
	}
}
