package wal

// group is a run of records laid out as frames whose headers are still to be
// filled in. Not safe for concurrent use.
type group struct {
	first   Seq // of the first record; meaningful also while empty
	buf     []byte
	records []span
	urgent  int // index of the first urgent record, −1 if none
}

// span is where a record's payload lies in the buffer.
type span struct {
	off, len int32
	urgent   bool
}

func newGroup(first Seq) *group { return &group{first: first, urgent: -1} }

func (g *group) len() int { return len(g.buf) }

// add appends a record in parts; its frame's header stays empty.
func (g *group) add(urgent bool, parts ...[]byte) {
	if urgent && g.urgent < 0 {
		g.urgent = len(g.records)
	}
	at := len(g.buf)
	n := lengthOf(parts)
	size := int(frameSize(n))
	var head [headerSize]byte
	g.buf = append(g.buf, head[:]...)
	for _, p := range parts {
		g.buf = append(g.buf, p...)
	}
	g.buf = append(g.buf, head[:size-headerSize-n]...)
	g.records = append(g.records, span{int32(at + headerSize), int32(n), urgent})
}

func lengthOf(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// payload returns a record of the group, or nil if it is not in it.
func (g *group) payload(seq Seq) []byte {
	if seq < g.first || seq-g.first >= Seq(len(g.records)) {
		return nil
	}
	s := g.records[seq-g.first]
	return g.buf[s.off : s.off+s.len : s.off+s.len]
}

// frameEnd is the offset behind record i's frame.
func (g *group) frameEnd(i int) int {
	s := g.records[i]
	return int(s.off) - headerSize + int(frameSize(int(s.len)))
}

// prefix is how many records from the start make the next group: at most
// limit bytes, but always one record, and with an urgent record in it at most
// short bytes, unless the urgent one lies behind that; and none from boundary
// on, the first record of another segment (0: there is none).
func (g *group) prefix(limit, short int, boundary Seq) int {
	if g.urgent >= 0 {
		limit = min(limit, max(short, g.frameEnd(g.urgent)))
	}
	n := len(g.records)
	if boundary > g.first {
		n = min(n, int(boundary-g.first))
	}
	for n > 1 && g.frameEnd(n-1) > limit {
		n--
	}
	return n
}

// split moves all records but the first n into rest, which is empty.
func (g *group) split(n int, rest *group) {
	rest.first = g.first + Seq(n)
	if n == len(g.records) {
		return
	}
	end := g.frameEnd(n - 1)
	for i, s := range g.records[n:] {
		s.off -= int32(end)
		rest.records = append(rest.records, s)
		if s.urgent && rest.urgent < 0 {
			rest.urgent = i
		}
	}
	rest.buf = append(rest.buf, g.buf[end:]...)
	g.buf = g.buf[:end]
	g.records = g.records[:n]
}

// reset empties the group. A buffer that a long record has blown up is left
// to the collector.
func (g *group) reset(first Seq) {
	if cap(g.buf) > 2*maxGroup+maxGroup/2 {
		g.buf = nil
	}
	g.first, g.buf, g.records, g.urgent = first, g.buf[:0], g.records[:0], -1
}

// finish fills in the headers. template holds the fields that the frames have
// in common and the chain value before them; off is the offset of the first
// frame in its segment. It returns the chain value after them.
func (g *group) finish(template header, seed uint32, off int64) uint32 {
	synced := template.seq
	h := template
	h.kind = kindRecord
	for i, s := range g.records {
		at := int(s.off) - headerSize
		h.seq = g.first + Seq(i)
		h.behind = uint32(h.seq - synced)
		h.length = int(s.len)
		h.chain = h.finish(g.buf[at:g.frameEnd(i)], seed, off+int64(at))
	}
	return h.chain
}

// frame makes a whole frame with its padding, for the kinds that hold no
// record.
func (h header) frame(payload []byte, seed uint32, off int64) (b []byte, chain uint32) {
	h.length = len(payload)
	b = make([]byte, h.size())
	copy(b[headerSize:], payload)
	chain = h.finish(b, seed, off)
	return b, chain
}
