package cep

import (
	"cmp"
	"slices"
)

// population is the groups of one key. No two of them have equal states.
type population struct {
	groups []member
	total  int // runs of all groups
}

// member is a group, with what is searched for beside the pointer: a key may
// have thousands of groups, and most are not in the processor's cache.
type member struct {
	*group
	hash        uint64 // the state's digest
	first, last uint64 // where the first and the last of its runs began
}

func (m *member) update() { m.first, m.last = m.runs[0].start, m.runs[len(m.runs)-1].start }

// lookup finds groups by the digest of their state, for many puts in a row: the
// indices of one digest. It is used again by the same machine.
type lookup map[uint64][]int

// manyCompares is from when on an index is worth while: so many digests are
// compared in the time that it takes to make one.
const manyCompares = 1 << 12

// index returns an index for a number of puts, or nil if they need none.
func (p *population) index(into lookup, puts int) lookup {
	if puts*len(p.groups) < manyCompares {
		return nil
	}
	clear(into)
	for i := range p.groups {
		into[p.groups[i].hash] = append(into[p.groups[i].hash], i)
	}
	return into
}

// put adds a group, whose memory it takes over, to the one of an equal state
// or as a new one.
func (p *population) put(g *group, by lookup) {
	g.moves = false
	hash := g.digest()
	if same := p.find(g, hash, by); same != nil {
		before := len(same.runs)
		same.merge(g.runs)
		same.update()
		p.total += len(same.runs) - before
		return
	}
	if by != nil {
		by[hash] = append(by[hash], len(p.groups))
	}
	p.groups = append(p.groups, member{group: g, hash: hash})
	p.groups[len(p.groups)-1].update()
	p.total += len(g.runs)
}

func (p *population) find(g *group, hash uint64, by lookup) *member {
	if by != nil {
		for _, i := range by[hash] {
			if same := &p.groups[i]; same.compare(&g.state) == 0 {
				return same
			}
		}
		return nil
	}
	for i := range p.groups {
		if same := &p.groups[i]; same.hash == hash && same.compare(&g.state) == 0 {
			return same
		}
	}
	return nil
}

// tidy takes out the groups whose state changes, and those without runs.
func (p *population) tidy() {
	p.groups = slices.DeleteFunc(p.groups, func(g member) bool { return len(g.runs) == 0 || g.moves })
	if cap(p.groups) > 4*len(p.groups) {
		p.groups = slices.Clone(p.groups) // one large moment is no reason to keep as much
	}
	p.total = 0
	for i := range p.groups {
		p.groups[i].update()
		p.total += len(p.groups[i].runs)
	}
}

// prune drops the runs that began from one event up to another, and returns
// how many.
func (p *population) prune(from, to uint64) int {
	before := p.total
	for _, g := range p.groups {
		g.runs = slices.DeleteFunc(g.runs, func(r run) bool { return from <= r.start && r.start <= to })
	}
	p.tidy()
	return before - p.total
}

// trim gives up runs until at most limit are left, and returns how many.
func (p *population) trim(limit int, policy Overflow) int {
	dropped := max(p.total-limit, 0)
	for range dropped {
		at := 0
		for i := 1; i < len(p.groups); i++ {
			if policy.worse(&p.groups[i], &p.groups[at]) {
				at = i
			}
		}
		worst := &p.groups[at]
		last := len(worst.runs) - 1
		if policy == DropOldest {
			worst.runs[0].evidence = nil
			worst.runs = worst.runs[1:]
		} else {
			worst.runs[last].evidence = nil
			worst.runs = worst.runs[:last]
		}
		if last > 0 {
			worst.update()
		} else {
			p.groups = slices.Delete(p.groups, at, at+1)
		}
		p.total--
	}
	return dropped
}

// worse tells whether a run of g is to be given up before all those of h. Of
// runs that began with the same event, those in the greater state go first.
func (o Overflow) worse(g, h *member) bool {
	by := cmp.Compare(g.first, h.first)
	if o == DropNewest {
		by = cmp.Compare(h.last, g.last)
	}
	return by < 0 || by == 0 && g.compare(&h.state) > 0
}
