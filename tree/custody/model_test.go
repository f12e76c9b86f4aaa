package custody

import (
	"encoding/binary"
	"fmt"
	"slices"

	"pando/event"
)

// The model explores every interleaving of the protocol at small scope: one
// agent, two relays, the root, lines that can be read again (a file)
// and lines that cannot (syslog), crashes, moves, lost and rolled-back disks,
// lost, doubled and reordered messages. It drives the same Outbox, Intake and
// Owner values as the product. Between relay and root messages form a set:
// each may be delivered in any order. Faults are drawn from a budget.

const (
	relays    = 2
	firstLine = 1   // contents 1, 2, …: lines of a file
	firstPush = 101 // contents 101, …: lines that cannot be read again
	unread    = 255 // the agent does not know yet where to read the file
)

type limits struct {
	lines, pushes, batch int // file lines, syslog lines, most lines a batch
	faults, messages     int
	disks, rollbacks     bool
	only                 string // the only fault, by name; empty: all
	states               int    // give up beyond this many
}

// mutation is a fault put into the protocol on purpose; the model must see it.
type mutation string

const (
	noContiguity    mutation = "the root applies sections that do not start at the settled position"
	trimOnDurable   mutation = "the agent trims what is only durable at its relay"
	stepUnvouched   mutation = "the relay steps beyond durable-to"
	resumeElsewhere mutation = "the agent resumes from another relay's acknowledgement"
	dropFenced      mutation = "a fenced relay drops its batches"
	restCountsAll   mutation = "the rest of a closed unit counts what its agent reads again"
	closedReturns   mutation = "a closed WAL id comes into force again"
	noChain         mutation = "nobody compares chain values"
)

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
	started bool // knows where to read the file
	start   uint8
	log     []batch // all batches since the log began; trimmed ones have no lines
	trimmed uint64
	settled uint64
}

type agent struct {
	up      bool
	d       disk  // what is on disk; log includes what is not synced yet
	synced  int   // batches of d.log that are synced
	saved   *disk // an image for a rollback
	out     Outbox
	session uint64
	relay   int8   // -1: none
	durable uint64 // the last durable acknowledgement of any relay
	pushed  uint8
}

type relay struct {
	up        bool
	mem, disk []Intake // by WAL id - 1
	batches   []batch  // every batch by Pos-1; kept aside, for its content
}

type message struct {
	kind   string // claim, section, granted, refused, answer
	wal    uint8
	relay  int8
	term   Term
	opened uint64
	head   Head
	lines  string
	pos    uint8
	owner  Owner
	v      Verdict
}

type state struct {
	a       agent
	r       [relays]relay
	owner   []Owner // by WAL id - 1
	origin  Origin
	opens   uint64 // the HLC of openings
	pos     uint8  // file lines settled, as the current claim returns it
	applied string // contents in the order of application
	wrong   string // a broken invariant
	net     []message
	faults  int
	wals    uint8
	lost    string // syslog lines that a fault took before they were safe
}

type model struct {
	limits
	mut  mutation
	held map[[2]uint64]map[string]bool // (wal, seq) → contents that were ever durable
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

func (s *state) clone() *state {
	c := *s
	c.a.d.log = slices.Clip(c.a.d.log)
	for i := range c.r {
		c.r[i].mem = cloneIntakes(s.r[i].mem)
		c.r[i].disk = cloneIntakes(s.r[i].disk)
		c.r[i].batches = slices.Clip(c.r[i].batches)
	}
	c.owner = slices.Clone(s.owner)
	c.net = slices.Clone(s.net)
	return &c
}

func cloneIntakes(in []Intake) []Intake {
	out := slices.Clone(in)
	for i := range out {
		out[i].Held = slices.Clip(out[i].Held)
	}
	return out
}

func (m *model) initial() *state {
	s := &state{}
	s.a = agent{up: true, relay: -1}
	for i := range s.r {
		s.r[i].up = true
	}
	s.newWAL()
	return s
}

// newWAL gives the agent an empty log under a new WAL id.
func (s *state) newWAL() {
	s.wals++
	s.a.d = disk{wal: s.wals, epoch: s.a.d.epoch + 1}
	s.a.synced, s.a.relay = 0, -1
	s.a.out = NewOutbox(1, 0, 0)
	s.owner = append(s.owner, Owner{})
	for i := range s.r {
		s.r[i].mem = append(s.r[i].mem, Intake{EndOK: true})
		s.r[i].disk = append(s.r[i].disk, Intake{EndOK: true})
	}
}

func (s *state) intake(r int8) *Intake { return &s.r[r].mem[s.a.d.wal-1] }

func (s *state) hangUp() {
	if s.a.relay >= 0 && s.r[s.a.relay].up {
		s.intake(s.a.relay).CloseSession()
	}
	s.a.relay = -1
	s.a.out.Close()
}

// step is one transition: do changes the state and reports whether it applied.
type step struct {
	name  string
	fault bool
	do    func(s *state) bool
}

func (m *model) steps(s *state) []step {
	var out []step
	add := func(name string, do func(s *state) bool) { out = append(out, step{name, false, do}) }
	fault := func(name string, do func(s *state) bool) { out = append(out, step{name, true, do}) }
	for n := 1; n <= m.batch; n++ {
		add(fmt.Sprintf("read %d", n), func(s *state) bool { return m.read(s, n) })
	}
	add("push", m.push)
	add("agent sync", m.agentSync)
	for r := range int8(relays) {
		add(fmt.Sprintf("open at %d", r), func(s *state) bool { return m.open(s, r) })
		add(fmt.Sprintf("relay %d sync", r), func(s *state) bool { return m.relaySync(s, r) })
		for w := range s.wals {
			add(fmt.Sprintf("relay %d claims %d", r, w+1), func(s *state) bool { return m.claim(s, r, w) })
			add(fmt.Sprintf("relay %d cuts %d", r, w+1), func(s *state) bool { return m.cut(s, r, w) })
			add(fmt.Sprintf("relay %d asks of %d", r, w+1), func(s *state) bool { return m.ask(s, r, w) })
		}
		fault(fmt.Sprintf("relay %d crashes", r), func(s *state) bool { return m.relayCrash(s, r, false) })
		if m.disks {
			fault(fmt.Sprintf("relay %d loses its disk", r), func(s *state) bool { return m.relayCrash(s, r, true) })
		}
		add(fmt.Sprintf("relay %d starts", r), func(s *state) bool {
			ok := !s.r[r].up
			s.r[r].up = true
			return ok
		})
	}
	add("send", m.send)
	add("vouch", m.vouch)
	add("ack", m.ack)
	add("trim", m.trim)
	add("agent starts", m.agentStart)
	fault("move", func(s *state) bool { ok := s.a.up && s.a.relay >= 0; s.hangUp(); return ok })
	fault("agent crashes", m.agentCrash)
	if m.disks {
		fault("agent loses its disk", m.agentDiskLost)
	}
	if m.rollbacks {
		add("image", func(s *state) bool {
			if !s.a.up || s.a.saved != nil || s.a.synced == 0 || s.a.synced != len(s.a.d.log) {
				return false
			}
			d := s.a.d
			s.a.saved = &d
			return true
		})
		fault("agent rolled back", m.agentRolledBack)
	}
	for i := range s.net {
		add("deliver "+s.net[i].kind, func(s *state) bool { return m.deliver(s, i, false) })
		fault("double "+s.net[i].kind, func(s *state) bool { return m.deliver(s, i, true) })
		fault("lose "+s.net[i].kind, func(s *state) bool { s.net = slices.Delete(s.net, i, i+1); return true })
	}
	return out
}
