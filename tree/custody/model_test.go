package custody

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pando/event"
)

// The model explores every interleaving of the protocol at small scope: agents
// with lines that can be read again (files) and lines that cannot (syslog), two
// relays, perhaps a relay between them and the root, the root; crashes, moves,
// lost and rolled-back disks, lost, doubled and reordered messages, lost
// sessions, a root restored from an old snapshot. It drives the same Outbox,
// Intake, Joined, Owner and Origin values as the product. Messages form a set:
// each may be delivered in any order. Faults are drawn from a budget.

const (
	relays    = 2
	maxLanes  = 2
	perLane   = 16  // contents of one lane of one agent
	firstLine = 1   // contents 1, 2, …: lines of files
	firstPush = 128 // contents 128, …: lines that cannot be read again
	beat      = 0   // content of a heartbeat, and of what is not counted
	unread    = 255 // the agent does not know yet where to read the file
)

type limits struct {
	agents, lanes        int8 // 0: one
	lines, pushes, batch int  // file lines of a lane, syslog lines of an agent, most lines a batch
	faults, messages     int
	disks, rollbacks     bool
	middle               bool // a relay between the relays and the root; sessions instead of lost messages
	restores             bool
	coarse               bool     // agents and relays sync at once: longer histories
	only                 []string // the only faults, by name; nil: all
	states               int      // give up beyond this many
}

// batch is what an agent's WAL holds.
type batch struct {
	span  Span
	lines string // contents, one byte each
	pos   uint8  // file lines read up to its end, or unread
}

// disk is what an agent loses with its disk, or finds again after a rollback.
type disk struct {
	wal     uint8 // 0: none
	epoch   uint64
	started uint64 // HLC of the claim that told where to read the files
	lane    [maxLanes]lane
}

type lane struct {
	start   uint8
	log     []batch // all batches since the log began; trimmed ones have no lines
	trimmed uint64
	settled uint64
}

type agent struct {
	up      bool
	d       disk          // what is on disk; logs include what is not synced yet
	synced  [maxLanes]int // batches of the logs that are synced
	saved   *disk         // an image for a rollback
	out     [maxLanes]Outbox
	session uint64
	relay   int8             // -1: none
	durable [maxLanes]uint64 // the last durable acknowledgement of any relay
	pushed  uint8
	broken  bool // a fault took its disk, or gave it an old one
}

type relay struct {
	up        bool
	mem, disk []Intake // by unit
	flight    []int8   // sections without an answer, by unit
	batches   []batch  // every batch by Pos-1; kept aside, for its content
	link      uint8    // number of the session to the middle relay
}

// root is what a snapshot of the root holds.
type root struct {
	known   []bool // by WAL id - 1
	owner   []Owner
	origin  []Origin
	pos     []uint8 // file lines settled, by agent and lane
	applied string  // contents, sorted
	gone    []gone
}

// gone is a range that the root has entered as lost.
type gone struct {
	unit int
	r    Range
}

type message struct {
	kind   string // claim, section, granted, refused, answer
	hop    hop
	wal    uint8
	lane   int8
	relay  int8
	link   uint8 // session of the relay, then of the middle relay
	mid    uint8
	id     uint8 // given by the middle relay
	term   Term
	opened uint64
	began  uint64 // a claim's Started
	head   Head
	lines  string
	pos    uint8
	owner  [maxLanes]Owner // a section's answer uses the first
	start  [maxLanes]uint8
	v      Verdict
}

type state struct {
	a     []agent
	r     [relays]relay
	mid   middle
	root  root
	image *root
	net   []message
	of    []int8   // agent of each WAL id, by WAL id - 1
	top   []uint64 // highest position that any root ever settled, by unit
	once  string   // contents that any root ever applied
	lost  string   // syslog lines that a fault took before they were safe
	opens uint64   // the HLC of openings
	wrong string   // a broken invariant
	// faults is how many of the budget are used.
	faults   int
	restored bool
}

type model struct {
	limits
	mut  mutation
	held map[[2]uint64]map[byte]bool // (unit, seq) → contents that were ever durable
}

func newModel(l limits, mut mutation) *model {
	l.agents, l.lanes = max(l.agents, 1), max(l.lanes, 1)
	return &model{limits: l, mut: mut, held: map[[2]uint64]map[byte]bool{}}
}

// unit is the index of a lane of a WAL id.
func (m *model) unit(wal uint8, l int8) int { return int(wal-1)*int(m.lanes) + int(l) }

// unitID is the name of a unit, as a section has it.
func (m *model) unitID(wal uint8, l int8) event.Unit {
	return event.Unit{WAL: event.WALID(wal), Lane: event.Lane(l)}
}

// content is the i-th line of a lane.
func (m *model) content(a, l int8, i uint8) byte {
	return firstLine + uint8(a*m.lanes+l)*perLane + i
}

func (m *model) chain(prev event.Hash, lines string) event.Hash {
	if m.mut == noChain {
		return event.Hash{}
	}
	h := binary.LittleEndian.Uint64(prev[:]) ^ 0x9e3779b97f4a7c15
	for i := range len(lines) {
		h = (h ^ uint64(lines[i])) * 0x100000001b3
		h ^= h >> 29
	}
	var out event.Hash
	binary.LittleEndian.PutUint64(out[:], h)
	return out
}

func (m *model) initial() *state {
	s := &state{mid: middle{up: true}}
	s.root.origin = make([]Origin, m.agents)
	s.root.pos = make([]uint8, m.agents*m.lanes)
	for i := range s.r {
		s.r[i].up = true
	}
	for a := range m.agents {
		s.a = append(s.a, agent{up: true, relay: -1})
		m.newWAL(s, a)
	}
	return s
}

// newWAL gives an agent an empty log under a new WAL id.
func (m *model) newWAL(s *state, a int8) {
	x := &s.a[a]
	for l := range m.lanes {
		s.lose(x.d.lane[l].log)
	}
	s.of = append(s.of, a)
	x.d = disk{wal: uint8(len(s.of)), epoch: x.d.epoch + 1}
	x.relay = -1
	s.root.known = append(s.root.known, false)
	for l := range m.lanes {
		x.synced[l], x.out[l] = 0, NewOutbox(1, 0, 0)
		s.root.owner = append(s.root.owner, Owner{})
		s.top = append(s.top, 0)
		for i := range s.r {
			s.r[i].mem = append(s.r[i].mem, Intake{EndOK: true})
			s.r[i].disk = append(s.r[i].disk, Intake{EndOK: true})
			s.r[i].flight = append(s.r[i].flight, 0)
		}
	}
}

// giveUp is what an agent does that hears that its WAL id is closed, or that
// its content is not what the tree holds.
func (m *model) giveUp(s *state, a int8) {
	if m.mut == "" && !s.a[a].broken && !s.restored {
		s.wrong = fmt.Sprintf("agent %d gives up WAL %d, whose disk is whole", a, s.a[a].d.wal)
	}
	m.hangUp(s, a)
	m.newWAL(s, a)
}

func (m *model) intake(s *state, a, l int8) *Intake {
	return &s.r[s.a[a].relay].mem[m.unit(s.a[a].d.wal, l)]
}

// serves reports whether a relay has a session of the WAL id.
func (s *state) serves(r int8, wal uint8) bool {
	x := &s.a[s.of[wal-1]]
	return x.relay == r && x.d.wal == wal
}

// hangUp ends an agent's session on both sides.
func (m *model) hangUp(s *state, a int8) {
	x := &s.a[a]
	if x.relay >= 0 && s.r[x.relay].up {
		for l := range m.lanes {
			m.intake(s, a, l).CloseSession()
			s.forget(x.relay, m.unit(x.d.wal, l))
		}
		m.syncIfCoarse(s, x.relay)
	}
	x.relay = -1
	for l := range x.out {
		x.out[l].Close()
	}
}

// forget is what a relay does with a unit of which nothing is left.
func (s *state) forget(r int8, u int) {
	if s.r[r].mem[u].Done() {
		s.r[r].mem[u], s.r[r].flight[u] = Intake{EndOK: true}, 0
	}
}

func cloneIntakes(in []Intake) []Intake {
	out := slices.Clone(in)
	for i := range out {
		out[i].Held = slices.Clip(out[i].Held)
	}
	return out
}

func (s *state) clone() *state {
	c := *s
	c.a = slices.Clone(s.a)
	for i := range c.a {
		for l := range c.a[i].d.lane {
			c.a[i].d.lane[l].log = slices.Clip(c.a[i].d.lane[l].log)
		}
	}
	for i := range c.r {
		c.r[i].mem = cloneIntakes(s.r[i].mem)
		c.r[i].disk = cloneIntakes(s.r[i].disk)
		c.r[i].flight = slices.Clone(s.r[i].flight)
		c.r[i].batches = slices.Clip(c.r[i].batches)
	}
	c.root = s.root.clone()
	c.mid = s.mid.clone()
	c.of, c.top = slices.Clip(c.of), slices.Clone(s.top)
	c.net = slices.Clone(s.net)
	return &c
}
