package custody

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"

	"pando/event"
)

// The model explores every interleaving of the protocol at small scope: one
// agent (or two), two relays, the root, lines that can be read again (a file)
// and lines that cannot (syslog), crashes, moves, lost and rolled-back disks,
// lost, doubled and reordered messages. It drives the same Outbox, Intake and
// Owner values as the product. Between relay and root messages form a set:
// each may be delivered in any order. Faults are drawn from a budget.

var scope = flag.String("scope", "ci", "size of the explored model: ci or large")

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
	states               int // give up beyond this many
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

var seed1, seed2 = maphash.MakeSeed(), maphash.MakeSeed()

// key identifies a state up to what the future can see.
func (s *state) key() [2]uint64 {
	k := keyer{b: make([]byte, 0, 1024)}
	k.n(flag01(s.a.up), uint64(s.a.synced), s.a.session, uint64(s.a.relay+1), uint64(s.a.pushed), uint64(s.faults), uint64(s.wals), uint64(s.pos), s.opens, s.a.durable)
	k.n(uint64(s.origin.Current), s.origin.Opened)
	o := s.a.out
	k.n(o.First, o.Last, o.Synced, o.Settled, flag01(o.Open), o.Next, o.Durable)
	k.disk(&s.a.d)
	if s.a.saved != nil {
		k.disk(s.a.saved)
	}
	k.b = append(append(append(k.b, s.applied...), '|'), s.lost...)
	for i := range s.r {
		k.n(flag01(s.r[i].up))
		for w := range s.r[i].mem {
			k.intake(&s.r[i].mem[w])
			k.intake(&s.r[i].disk[w])
		}
	}
	for w := range s.owner {
		k.owner(&s.owner[w])
	}
	var net [2]uint64 // a set: the sum does not depend on the order
	for i := range s.net {
		m, km := &s.net[i], keyer{}
		km.n(uint64(m.kind[0])|uint64(m.kind[1])<<8, uint64(m.wal), uint64(m.relay), m.opened, uint64(m.pos), uint64(m.v))
		km.term(m.term)
		km.term(m.head.Term)
		km.n(m.head.From, m.head.To, flag01(m.head.Rest))
		km.b = append(append(append(km.b, m.head.Before[:8]...), m.head.After[:8]...), m.lines...)
		km.owner(&m.owner)
		net[0] += maphash.Bytes(seed1, km.b)
		net[1] += maphash.Bytes(seed2, km.b)
	}
	return [2]uint64{maphash.Bytes(seed1, k.b) + net[0], maphash.Bytes(seed2, k.b) + net[1]}
}

type keyer struct{ b []byte }

func flag01(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (k *keyer) n(vs ...uint64) {
	for _, v := range vs {
		k.b = binary.AppendUvarint(k.b, v)
	}
}

func (k *keyer) term(t Term) { k.n(t.Epoch, t.Session) }

func (k *keyer) owner(o *Owner) {
	k.term(o.Term)
	k.n(o.Settled, flag01(o.Closed))
	k.b = append(append(k.b, o.Relay...), o.Chain[:8]...)
}

func (k *keyer) disk(d *disk) {
	k.n(uint64(d.wal), d.epoch, flag01(d.started), uint64(d.start), d.trimmed, d.settled, uint64(len(d.log)))
	for i := range d.log {
		k.n(d.log[i].span.Last, uint64(d.log[i].pos), uint64(len(d.log[i].lines)))
		k.b = append(append(k.b, d.log[i].lines...), d.log[i].span.After[:8]...)
	}
}

func (k *keyer) intake(n *Intake) {
	k.term(n.Term)
	k.n(n.Opened, flag01(n.Live)|flag01(n.Claimed)<<1|flag01(n.Fenced)<<2|flag01(n.Closed)<<3|flag01(n.EndOK)<<4,
		n.End, n.Vouched, n.Stepped, n.Settled, n.Cut, uint64(len(n.Held)))
	k.b = append(append(k.b, n.EndHash[:8]...), n.SettledHash[:8]...)
	for i := range n.Held {
		k.n(n.Held[i].First, n.Held[i].Last)
		k.b = append(k.b, n.Held[i].After[:8]...)
	}
}

func sameIntakes(a, b []Intake) bool {
	var x, y keyer
	for i := range a {
		x.intake(&a[i])
		y.intake(&b[i])
	}
	return bytes.Equal(x.b, y.b)
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

func (m *model) appendBatch(s *state, lines string, pos uint8) {
	d := &s.a.d
	before, last := event.Hash{}, uint64(0)
	if n := len(d.log); n > 0 {
		before, last = d.log[n-1].span.After, d.log[n-1].span.Last
	}
	b := batch{span: Span{First: last + 1, Last: last + uint64(len(lines)), Before: before, After: m.chain(before, lines)}, lines: lines, pos: pos}
	d.log = append(d.log, b)
	s.a.out.Append(b.span.Last)
}

// readTo is how many lines of the file are in the log, or were settled before
// the log began.
func (d *disk) readTo() uint8 {
	if !d.started {
		return unread
	}
	if n := len(d.log); n > 0 && d.log[n-1].pos != unread {
		return d.log[n-1].pos
	}
	return d.start
}

func (m *model) read(s *state, n int) bool {
	at := s.a.d.readTo()
	if !s.a.up || !s.a.d.started || int(at)+n > m.lines {
		return false
	}
	lines := ""
	for i := range n {
		lines += string(rune(firstLine + int(at) + i))
	}
	m.appendBatch(s, lines, at+uint8(n))
	return true
}

func (m *model) push(s *state) bool {
	if !s.a.up || int(s.a.pushed) >= m.pushes {
		return false
	}
	m.appendBatch(s, string([]byte{firstPush + s.a.pushed}), s.a.d.readTo())
	s.a.pushed++
	return true
}

func (m *model) agentSync(s *state) bool {
	if !s.a.up || s.a.synced == len(s.a.d.log) {
		return false
	}
	for _, b := range s.a.d.log[s.a.synced:] {
		m.remember(s.a.d.wal, b)
	}
	s.a.synced = len(s.a.d.log)
	s.a.out.Sync(s.a.out.Last)
	return true
}

func (m *model) remember(wal uint8, b batch) {
	for i := range len(b.lines) {
		k := [2]uint64{uint64(wal), b.span.First + uint64(i)}
		if m.held[k] == nil {
			m.held[k] = map[string]bool{}
		}
		m.held[k][b.lines[i:i+1]] = true
	}
}

func (m *model) open(s *state, r int8) bool {
	if !s.a.up || s.a.relay >= 0 || !s.r[r].up || r == 1 && s.opens == 0 { // the relays are alike
		return false
	}
	n := s.intake(r)
	s.a.session++
	s.opens++
	t := Term{Epoch: s.a.d.epoch, Session: s.a.session}
	offer := s.a.out.Offer()
	if m.mut == resumeElsewhere {
		offer.From = max(offer.From, s.a.durable+1)
	}
	resume, err := n.OpenSession(t, s.opens, offer)
	if errors.Is(err, ErrOldTerm) {
		s.a.d.epoch = max(s.a.d.epoch, n.Term.Epoch) // raised, and tried again
		s.a.session = max(s.a.session, n.Term.Session)
		return true
	}
	if err == nil {
		err = s.a.out.Opened(resume)
	}
	if errors.Is(err, ErrDiverged) {
		n.CloseSession()
		s.newWAL()
		return true
	}
	if err != nil {
		s.wrong = "open: " + err.Error()
		return true
	}
	s.a.relay = r
	return true
}

func (m *model) send(s *state) bool {
	if s.a.relay < 0 {
		return false
	}
	for _, b := range s.a.d.log {
		if b.span.First != s.a.out.Next {
			continue
		}
		if b.lines == "" {
			s.wrong = fmt.Sprintf("resume at %d, which was trimmed", b.span.First)
			return true
		}
		r := &s.r[s.a.relay]
		r.batches = append(r.batches, b)
		sp := b.span
		sp.Pos = uint64(len(r.batches))
		n := s.intake(s.a.relay)
		if err := n.Add(sp); errors.Is(err, ErrDiverged) {
			n.CloseSession()
			s.newWAL()
			return true
		} else if err != nil {
			s.wrong = "send: " + err.Error()
			return true
		}
		s.a.out.Sent(b.span.Last)
		n.Vouch(s.a.out.Synced)
		m.stepIntake(n)
		return true
	}
	return false
}

func (m *model) stepIntake(n *Intake) {
	if m.mut == stepUnvouched {
		real := n.Vouched
		n.Vouched = n.End
		n.Step()
		n.Vouched = real
		return
	}
	n.Step()
}

func (m *model) vouch(s *state) bool {
	if s.a.relay < 0 || s.intake(s.a.relay).Vouched >= s.a.out.Synced {
		return false
	}
	n := s.intake(s.a.relay)
	n.Vouch(s.a.out.Synced)
	m.stepIntake(n)
	return true
}

// ack carries both acknowledgements; the relay's outputs wait for its fsync.
func (m *model) ack(s *state) bool {
	if s.a.relay < 0 {
		return false
	}
	n := &s.r[s.a.relay].disk[s.a.d.wal-1]
	if n.Term != s.intake(s.a.relay).Term {
		return false
	}
	was := s.a.out
	if err := s.a.out.Ack(n.Durable(), n.Settled); errors.Is(err, ErrDiverged) {
		s.hangUp()
		s.newWAL()
		return true
	} else if err != nil {
		s.wrong = "ack: " + err.Error()
	}
	if m.mut == resumeElsewhere {
		s.a.durable = s.a.out.Durable
	}
	return s.a.out != was || s.wrong != ""
}

func (m *model) trim(s *state) bool {
	to := s.a.out.MayTrim()
	if m.mut == trimOnDurable {
		to = max(to, s.a.out.Durable)
	}
	if !s.a.up || to <= s.a.d.trimmed {
		return false
	}
	if m.mut == "" && to > s.owner[s.a.d.wal-1].Settled {
		s.wrong = fmt.Sprintf("trimmed to %d, settled is %d", to, s.owner[s.a.d.wal-1].Settled)
	}
	log := slices.Clone(s.a.d.log)
	for i := range log {
		if log[i].span.Last <= to {
			log[i].lines = ""
		}
	}
	s.a.d.log, s.a.d.trimmed, s.a.d.settled = log, to, s.a.out.Settled
	s.a.out.Trimmed(to + 1)
	return true
}

func (m *model) agentCrash(s *state) bool {
	if !s.a.up {
		return false
	}
	s.lose(s.a.d.log[s.a.synced:])
	s.hangUp()
	s.a.d.log = slices.Clip(s.a.d.log[:s.a.synced])
	s.a.up = false
	return true
}

// lose takes note of the syslog lines of a log that a fault took, unless they
// are settled or a relay's disk keeps them.
func (s *state) lose(log []batch) {
	for _, b := range log {
		if b.lines != "" && b.lines[0] >= firstPush && !strings.Contains(s.applied+s.lost, b.lines) && !s.atRelay(b, -1) {
			s.lost += b.lines
		}
	}
}

// atRelay reports whether the disk of a relay other than but holds a batch
// that its agent's disk once vouched for.
func (s *state) atRelay(b batch, but int8) bool {
	for r := range s.r {
		for _, n := range s.r[r].disk {
			for _, sp := range n.Held {
				if int8(r) != but && sp.After == b.span.After && sp.Last <= n.Vouched && s.r[r].batches[sp.Pos-1].lines == b.lines {
					return true
				}
			}
		}
	}
	return false
}

func (m *model) agentStart(s *state) bool {
	if s.a.up {
		return false
	}
	s.a.up, s.a.session = true, 0
	if s.a.d.wal == 0 {
		s.newWAL()
		return true
	}
	s.a.d.epoch++
	last := uint64(0)
	if n := len(s.a.d.log); n > 0 {
		last = s.a.d.log[n-1].span.Last
	}
	s.a.synced = len(s.a.d.log)
	s.a.out = NewOutbox(s.a.d.trimmed+1, last, s.a.d.settled)
	return true
}

func (m *model) agentDiskLost(s *state) bool {
	if !s.a.up {
		return false
	}
	m.agentCrash(s)
	s.lose(s.a.d.log)
	s.a.d = disk{}
	return true
}

func (m *model) agentRolledBack(s *state) bool {
	if !s.a.up || s.a.saved == nil {
		return false
	}
	m.agentCrash(s)
	for c := range s.a.pushed { // accepted under sequence numbers that are given twice
		s.lost += string([]byte{firstPush + c})
	}
	s.a.d, s.a.saved = *s.a.saved, nil
	s.a.synced = len(s.a.d.log)
	return true
}

func (m *model) relaySync(s *state, r int8) bool {
	if !s.r[r].up || sameIntakes(s.r[r].mem, s.r[r].disk) {
		return false
	}
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return true
}

func (m *model) relayCrash(s *state, r int8, lost bool) bool {
	if !s.r[r].up {
		return false
	}
	if s.a.relay == r {
		s.a.relay = -1
		s.a.out.Close()
	}
	s.r[r].mem = cloneIntakes(s.r[r].disk)
	for i := range s.r[r].mem {
		if lost {
			for _, sp := range s.r[r].disk[i].Held {
				if b := s.r[r].batches[sp.Pos-1]; b.lines[0] >= firstPush && !s.atRelay(b, r) && !s.atAgent(b) {
					s.lost += b.lines
				}
			}
			s.r[r].mem[i] = Intake{EndOK: true}
		}
		s.r[r].mem[i].CloseSession()
		s.r[r].mem[i].Recut()
	}
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	s.r[r].up = false
	return true
}

func (s *state) atAgent(b batch) bool {
	return slices.ContainsFunc(s.a.d.log, func(x batch) bool { return x.lines == b.lines && x.span == b.span })
}

func (m *model) post(s *state, msg message) bool {
	if len(s.net) >= m.messages || slices.Contains(s.net, msg) {
		return false
	}
	s.net = append(s.net, msg)
	return true
}

// synced reports whether the relay's outputs may leave.
func (s *state) syncedRelay(r int8) bool {
	return s.r[r].up && sameIntakes(s.r[r].mem, s.r[r].disk)
}

func (m *model) claim(s *state, r int8, w uint8) bool {
	n := s.r[r].mem[w]
	if !s.syncedRelay(r) || !n.Wants() {
		return false
	}
	return m.post(s, message{kind: "claim", wal: w + 1, relay: r, term: n.Term, opened: n.Opened})
}

func (m *model) cut(s *state, r int8, w uint8) bool {
	n := &s.r[r].mem[w]
	if !s.syncedRelay(r) {
		return false
	}
	spans := n.Section(2)
	if len(spans) == 0 || len(s.net) >= m.messages {
		return false
	}
	msg := message{kind: "section", wal: w + 1, relay: r}
	for _, sp := range spans {
		b := s.r[r].batches[sp.Pos-1]
		for i := range len(b.lines) {
			if !n.Closed || b.lines[i] >= firstPush || m.mut == restCountsAll {
				msg.lines += b.lines[i : i+1]
			} else {
				msg.lines += "\x00" // its agent reads it again
			}
		}
		msg.pos = b.pos
	}
	msg.head = n.Commit(event.Unit{WAL: event.WALID(w + 1)}, fmt.Sprint(r), spans)
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return m.post(s, msg)
}

// ask is the relay's question about a unit that it holds and that no session
// moves, and about sections that have no answer.
func (m *model) ask(s *state, r int8, w uint8) bool {
	n := &s.r[r].mem[w]
	if !s.syncedRelay(r) || len(n.Held) == 0 {
		return false
	}
	was := []Intake{*n}
	if m.mut == dropFenced && n.Fenced {
		n.Held = nil
	}
	o := s.owner[w]
	inFlight := slices.ContainsFunc(s.net, func(x message) bool { return x.wal == w+1 && x.relay == r })
	if inFlight {
		return false
	}
	n.Recut()
	var err error
	if o.Closed {
		err = n.Shut(o.Settled, o.Chain)
	} else {
		err = n.Applied(o.Settled, o.Chain)
	}
	m.judgeIntake(s, r, w, err)
	s.r[r].disk = cloneIntakes(s.r[r].mem)
	return !sameIntakes(was, s.r[r].mem[w:w+1])
}

// judgeIntake acts on a divergence that a relay finds by the root's answer.
func (m *model) judgeIntake(s *state, r int8, w uint8, err error) {
	if err == nil {
		return
	}
	n := &s.r[r].mem[w]
	n.Held = nil // what contradicts the settled content can never settle
	n.CloseSession()
	if s.a.relay == r && s.a.d.wal == w+1 {
		s.newWAL()
	}
}

func (m *model) deliver(s *state, i int, keep bool) bool {
	msg := s.net[i]
	if (msg.kind == "granted" || msg.kind == "refused" || msg.kind == "answer") && !s.r[msg.relay].up {
		return false
	}
	if !keep {
		s.net = slices.Delete(s.net, i, i+1)
	}
	switch msg.kind {
	case "claim":
		m.rootClaim(s, msg)
	case "section":
		m.rootSection(s, msg)
	default:
		m.answer(s, msg)
	}
	return true
}

func (m *model) rootClaim(s *state, msg message) {
	o := &s.owner[msg.wal-1]
	reply := message{kind: "granted", wal: msg.wal, relay: msg.relay, term: msg.term, pos: s.pos}
	closes, err := s.origin.Claim(event.WALID(msg.wal), msg.opened)
	if err != nil {
		o.Close()
	}
	if closes != 0 {
		s.owner[closes-1].Close()
	}
	if err := o.Claim(msg.term, fmt.Sprint(msg.relay)); err != nil {
		reply.kind = "refused"
	}
	reply.owner = *o
	s.net = append(s.net, reply)
}

func (m *model) rootSection(s *state, msg message) {
	o := &s.owner[msg.wal-1]
	if m.mut == noContiguity && msg.head.From != o.Settled+1 && !o.Closed {
		o.Settled, o.Chain = msg.head.From-1, msg.head.Before
	}
	v := o.Judge(msg.head)
	if v == Apply {
		for i := range len(msg.lines) {
			c := msg.lines[i : i+1]
			if c == "\x00" {
				continue
			}
			if strings.Contains(s.applied, c) {
				s.wrong = fmt.Sprintf("content %d applied twice", c[0])
			}
			if !m.held[[2]uint64{uint64(msg.wal), msg.head.From + uint64(i)}][c] {
				s.wrong = fmt.Sprintf("content %d applied at %d of WAL %d, where the agent never had it durable", c[0], msg.head.From+uint64(i), msg.wal)
			}
			s.applied += c
		}
		if !o.Closed && msg.pos != unread {
			s.pos = msg.pos
		}
	}
	s.net = append(s.net, message{kind: "answer", wal: msg.wal, relay: msg.relay, head: msg.head, owner: *o, v: v})
}

func (m *model) answer(s *state, msg message) {
	n := &s.r[msg.relay].mem[msg.wal-1]
	o := msg.owner
	var err error
	switch {
	case msg.kind == "refused" && o.Closed, msg.kind == "answer" && msg.v == SkipClosed:
		err = n.Shut(o.Settled, o.Chain)
		if err == nil && s.a.relay == msg.relay && s.a.d.wal == msg.wal && n.Live {
			s.lose(s.a.d.log)
			n.CloseSession()
			s.newWAL()
		}
	case msg.kind == "refused":
		n.Refused(msg.term)
		if n.Fenced && n.Live && s.a.relay == msg.relay && s.a.d.wal == msg.wal {
			s.a.d.epoch = max(s.a.d.epoch, o.Term.Epoch) // the agent raises its term
			s.a.session = max(s.a.session, o.Term.Session)
			s.hangUp()
		}
	case msg.kind == "granted":
		err = n.Granted(msg.term, o.Settled, o.Chain)
		if err == nil && n.Term == msg.term && s.a.relay == msg.relay && s.a.d.wal == msg.wal && !s.a.d.started {
			s.a.d.started, s.a.d.start = true, msg.pos
		}
	case msg.v == Apply:
		err = n.Applied(o.Settled, o.Chain)
	case msg.v == SkipTerm:
		n.Refused(msg.head.Term)
		err = n.Applied(o.Settled, o.Chain)
	case msg.v == RefuseDiverge:
		err = ErrDiverged
	default:
		err = n.Skipped(msg.head.To, o.Settled, o.Chain)
	}
	m.judgeIntake(s, msg.relay, msg.wal-1, err)
	s.r[msg.relay].disk = cloneIntakes(s.r[msg.relay].mem)
}

// settle runs the fault-free schedule from a state until nothing moves, and
// reports what is still wrong then. Every state that it passes is as good as
// the end, so good states are remembered.
func (m *model) settle(s *state, good map[[2]uint64]bool) string {
	s = s.clone()
	var passed [][2]uint64
	for range 400 {
		k := s.key()
		if good[k] {
			break
		}
		passed = append(passed, k)
		if !m.fair(s) {
			if s.wrong == "" {
				s.wrong = m.unsettled(s)
			}
			break
		}
	}
	if s.wrong == "" && len(passed) == 400 {
		s.wrong = "the fault-free schedule does not come to rest"
	}
	if s.wrong == "" {
		for _, k := range passed {
			good[k] = true
		}
	}
	return s.wrong
}

// fair takes the first step of a fixed order of preference that changes something.
func (m *model) fair(s *state) bool {
	big := *m
	big.messages = 100
	moves := []func() bool{func() bool { return big.agentStart(s) }}
	for r := range int8(relays) {
		moves = append(moves, func() bool { up := s.r[r].up; s.r[r].up = true; return !up })
	}
	moves = append(moves,
		func() bool { return len(s.net) > 0 && big.deliver(s, 0, false) },
		func() bool { return big.agentSync(s) },
		func() bool { return big.relaySync(s, 0) || big.relaySync(s, 1) },
		func() bool { return big.open(s, 0) },
		func() bool { return big.push(s) || big.read(s, 1) },
		func() bool { return big.send(s) || big.vouch(s) || big.ack(s) })
	for r := range int8(relays) {
		for w := range s.wals {
			moves = append(moves,
				func() bool { return big.claim(s, r, w) || big.cut(s, r, w) || big.ask(s, r, w) })
		}
	}
	for _, move := range moves {
		if move() {
			return true
		}
	}
	return false
}

// unsettled says what a state at rest lacks.
func (m *model) unsettled(s *state) string {
	for i := range m.lines {
		if !strings.Contains(s.applied, string(rune(firstLine+i))) {
			return fmt.Sprintf("line %d never settled (applied %v)", firstLine+i, []byte(s.applied))
		}
	}
	for i := range m.pushes {
		if !strings.Contains(s.applied+s.lost, string([]byte{byte(firstPush + i)})) {
			return fmt.Sprintf("syslog line %d never settled though a disk kept it", i)
		}
	}
	if o := s.owner[s.a.d.wal-1]; o.Settled != s.a.out.Last || s.a.out.Settled != s.a.out.Last {
		return fmt.Sprintf("WAL %d ends at %d, root settled %d, agent knows %d", s.a.d.wal, s.a.out.Last, o.Settled, s.a.out.Settled)
	}
	for r := range s.r {
		for w, n := range s.r[r].mem {
			if len(n.Held) > 0 && n.Vouched >= n.Held[0].Last && s.lost == "" {
				return fmt.Sprintf("relay %d still holds %d batches of WAL %d", r, len(n.Held), w+1)
			}
		}
	}
	return ""
}

type visit struct {
	parent [2]uint64
	step   string
}

// explore visits every state within the limits, breadth first, and returns
// the number of states and the first broken invariant with its trace.
func (m *model) explore() (int, string) {
	m.held = map[[2]uint64]map[string]bool{}
	start := m.initial()
	seen := map[[2]uint64]visit{start.key(): {}}
	good := map[[2]uint64]bool{}
	queue := []*state{start}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		k := s.key()
		for i, st := range m.steps(s) {
			_ = i
			if st.fault && s.faults >= m.faults {
				continue
			}
			c := s.clone()
			if !st.do(c) {
				continue
			}
			if st.fault {
				c.faults++
			}
			ck := c.key()
			if _, ok := seen[ck]; ok {
				continue
			}
			seen[ck] = visit{k, st.name}
			if c.wrong == "" {
				c.wrong = m.settle(c, good)
			}
			if c.wrong != "" {
				return len(seen), c.wrong + "\n" + trace(seen, ck)
			}
			queue = append(queue, c)
		}
		if len(seen) > m.states {
			return len(seen), ""
		}
	}
	return len(seen), ""
}

func trace(seen map[[2]uint64]visit, k [2]uint64) string {
	var steps []string
	for seen[k].step != "" {
		steps = append(steps, seen[k].step)
		k = seen[k].parent
	}
	slices.Reverse(steps)
	return "  " + strings.Join(steps, "\n  ")
}

// Each scope stresses one part of the protocol; the CI sizes take seconds.
var scopes = map[string]limits{
	"moves and crashes": {lines: 2, batch: 2, faults: 2, messages: 2, states: 80_000},
	"syslog":            {lines: 1, pushes: 1, batch: 1, faults: 3, messages: 2, states: 80_000},
	"lost disks":        {lines: 1, pushes: 1, batch: 1, faults: 2, messages: 2, disks: true, states: 80_000},
	"rolled-back disks": {lines: 3, batch: 1, faults: 2, messages: 1, rollbacks: true, states: 80_000},
}

func TestModel(t *testing.T) {
	for name, l := range scopes {
		t.Run(name, func(t *testing.T) {
			if *scope == "large" {
				l.states, l.faults, l.messages = 3_000_000, l.faults+1, l.messages+1
			}
			m := &model{limits: l}
			n, wrong := m.explore()
			if wrong != "" {
				t.Errorf("after %d states: %s", n, wrong)
			}
			t.Logf("%d states", n)
		})
	}
}

// TestModelSeesFaults puts known faults into the protocol: a model that does
// not see them proves nothing.
func TestModelSeesFaults(t *testing.T) {
	for mut, l := range map[mutation]limits{
		noContiguity:    {lines: 2, batch: 1, faults: 1, messages: 2},
		trimOnDurable:   {lines: 1, batch: 1, faults: 2, messages: 1},
		stepUnvouched:   {lines: 1, pushes: 1, batch: 1, faults: 1, messages: 1},
		resumeElsewhere: {lines: 1, batch: 1, faults: 1, messages: 1},
		dropFenced:      {pushes: 1, faults: 2, messages: 1, disks: true},
		restCountsAll:   {lines: 1, batch: 1, faults: 1, messages: 1, disks: true},
		noChain:         {lines: 1, pushes: 1, batch: 1, faults: 1, messages: 1, rollbacks: true},
	} {
		t.Run(string(mut), func(t *testing.T) {
			l.states = 400_000
			m := &model{limits: l, mut: mut}
			n, wrong := m.explore()
			if wrong == "" {
				t.Fatalf("not seen in %d states", n)
			}
			t.Logf("seen after %d states: %s", n, wrong)
		})
	}
}
