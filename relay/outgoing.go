//go:build !zos

package relay

import (
	"fmt"
	"slices"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

// Outgoing puts what a relay's core says to the root into messages, for one
// session after the other. Bulk sections have digests and a connection of their
// own, so nothing else waits for them: one digest of each lane and one message
// of findings is under way at a time; what comes meanwhile shares the next one,
// and so do sections of relays below. How much can wait is up to the core: see
// maxFlying. It is pure; the caller owns the lock.
type Outgoing struct {
	live     bool // there is a root
	requests []transport.Message
	lanes    [event.Lanes]digests
	findings []anomaly.Finding // the newest revision of each
	expect   []expectation     // the newest of each unit
	named    []wire.Named
	lessons  map[event.Unit]lesson // expectations that have no answer, waiting or under way
	taught   uint64                // counts expectations
	packed   uint64                // bytes of the core's sections since they were last counted
	telling  uint64                // id of the findings under way, or 0
	told     received              // what their answer says to the core
	teaching []event.Unit          // whose expectations are under way with them
	id       uint64
	below    *below // nil: no relay can be below
}

// expectation is what was learned of one origin, its encoded size, and the size
// of all that it stands for: what it replaced before it was sent included.
type expectation struct {
	known wire.Expect
	size  int
	owed  uint64
}

// lesson is which expectations of a unit have no answer yet; 0 means none.
type lesson struct{ underWay, waiting uint64 }

const (
	// maxDigest bounds a digest in bytes, so that it fits a Raft entry.
	maxDigest = 384 << 10
	// maxSectionsPerDigest and maxFindingsPerMessage are below the wire's caps.
	maxSectionsPerDigest  = 1024
	maxFindingsPerMessage = 256
	// maxRequests bounds claims and questions on their way.
	maxRequests = maxUnits
)

// Open begins a session. Nothing of the last one is left.
func (u *Outgoing) Open() {
	*u = Outgoing{id: u.id, below: u.below, live: true, lessons: map[event.Unit]lesson{}}
}

// Close ends the session. Until the next one opens, what the core says is
// dropped: it says it again then.
func (u *Outgoing) Close() { *u = Outgoing{id: u.id, below: u.below} }

// Waiting is how much was said and not sent.
func (u *Outgoing) Waiting() int {
	return len(u.requests) + len(u.lanes[event.Critical].sections) + len(u.lanes[event.Bulk].sections) +
		len(u.findings) + len(u.expect) + len(u.named)
}

// Put takes one output of the core.
func (u *Outgoing) Put(o journal.Output) {
	if !u.live {
		return
	}
	switch o.Kind {
	case outSection:
		r := pack.NewReader(o.Body)
		h, lane := wire.ReadHead(r), event.Bulk
		if r.Err() == nil {
			lane = h.Unit.Lane
		}
		u.lanes[lane].sections = append(u.lanes[lane].sections, section{o.Body, h.Unit, u.taught})
	case outFinding:
		u.find(anomaly.ReadFinding(pack.NewReader(o.Body)))
	case outExpect:
		r := pack.NewReader(o.Body)
		u.teach(wire.Expect{Unit: stream.ReadUnit(r), Term: readTerm(r), Known: anomaly.ReadExpectations(r)}, len(o.Body))
	case outNamed:
		u.named = append(u.named, wire.ReadNamed(pack.NewReader(o.Body))...)
	default:
		u.request(transport.Message{Kind: o.Kind, Body: o.Body})
	}
}

// find takes a finding, in the place of its revision that waits. Beyond its
// bound the oldest goes, as it does in the core.
func (u *Outgoing) find(f anomaly.Finding) {
	if at := slices.IndexFunc(u.findings, func(old anomaly.Finding) bool { return old.ID == f.ID }); at >= 0 {
		u.findings[at] = f
		return
	}
	if len(u.findings) >= maxPendingFindings {
		u.findings = u.findings[1:]
	}
	u.findings = append(u.findings, f)
}

// teach takes an expectation, in the place of that of the same unit that waits.
func (u *Outgoing) teach(x wire.Expect, size int) {
	u.taught++
	next := expectation{x, size, uint64(size)}
	if at := slices.IndexFunc(u.expect, func(old expectation) bool { return old.known.Unit == x.Unit }); at >= 0 {
		next.owed += u.expect[at].owed
		u.expect[at] = next
		return
	}
	u.expect = append(u.expect, next)
	u.lessons[x.Unit] = lesson{u.lessons[x.Unit].underWay, u.taught}
}

// untaught reports whether an expectation that came before a section of its
// agent, in the name of either lane, has no answer.
func (u *Outgoing) untaught(s *section) bool {
	for lane := range event.Lane(event.Lanes) {
		l := u.lessons[event.Unit{Origin: s.unit.Origin, WAL: s.unit.WAL, Lane: lane}]
		if l.underWay != 0 && l.underWay <= s.behind || l.waiting != 0 && l.waiting <= s.behind {
			return true
		}
	}
	return false
}

func (u *Outgoing) request(m transport.Message) {
	if len(u.requests) < maxRequests {
		u.requests = append(u.requests, m)
	}
}

// Due is what may be sent now over the control channel: all but bulk sections.
func (u *Outgoing) Due() []transport.Message {
	out := u.requests
	u.requests = nil
	if m, ok := u.tell(); ok {
		out = append(out, m)
	}
	if u.below != nil {
		out = u.below.passUp(out)
	}
	if m, ok := u.pack(event.Critical); ok {
		out = append(out, m)
	}
	return out
}

// DueBulk is the digest that may be sent now over the bulk connection, if any.
func (u *Outgoing) DueBulk() (transport.Message, bool) { return u.pack(event.Bulk) }

// tell makes the next message of findings and expectations.
func (u *Outgoing) tell() (transport.Message, bool) {
	if u.telling != 0 || len(u.findings)+len(u.expect)+len(u.named) == 0 {
		return transport.Message{}, false
	}
	m := wire.Findings{}
	n := min(len(u.findings), maxFindingsPerMessage)
	m.Findings, u.findings = u.findings[:n:n], u.findings[n:]
	u.told, u.teaching = received{}, nil
	for i := range m.Findings {
		u.told.Findings = append(u.told.Findings, receipt{ID: m.Findings[i].ID, Revision: m.Findings[i].Revision})
	}
	for size := 0; len(u.expect) > 0 && len(m.Expect) < maxFindingsPerMessage; u.expect = u.expect[1:] {
		if size += u.expect[0].size; size > maxDigest && len(m.Expect) > 0 {
			break
		}
		x := &u.expect[0]
		m.Expect = append(m.Expect, x.known)
		u.told.Taught += x.owed
		u.teaching = append(u.teaching, x.known.Unit)
		u.lessons[x.known.Unit] = lesson{underWay: u.lessons[x.known.Unit].waiting}
	}
	if len(u.findings) == 0 { // all that they are made of is said
		n := min(len(u.named), maxProvisional)
		m.Named, u.named = u.named[:n:n], u.named[n:]
		for _, x := range m.Named {
			u.told.Named = append(u.told.Named, x.ID)
		}
	}
	u.id++
	m.ID, u.telling = u.id, u.id
	return wire.Encode(&m), true
}

// Answer takes one of the root's answers; due says that the core is to hear
// of it by a record. An answer to what is not under way is passed over: it was
// asked before the present session.
func (u *Outgoing) Answer(m transport.Message) (rec Record, due bool, err error) {
	switch m.Kind {
	case wire.KindClaimAnswer:
		err = wire.Decode(m.Body, &wire.ClaimAnswer{})
		return Record{recClaimed, m.Body, true}, true, err
	case wire.KindDigestAnswer:
		var a wire.DigestAnswer
		if err := wire.Decode(m.Body, &a); err != nil {
			return rec, false, err
		}
		if a.ID == 0 { // questions have no id
			return Record{recJudged, m.Body, true}, true, nil
		}
		return u.judged(&a)
	case wire.KindGrant:
		var g wire.Grant
		err := wire.Decode(m.Body, &g)
		return Record{recGrant, encodeNumbers(g.BytesPerS), false}, true, err
	case wire.KindDone:
		var d wire.Done
		if err := wire.Decode(m.Body, &d); err != nil || d.ID != u.telling {
			return rec, false, err
		}
		told := u.told
		for _, x := range u.teaching {
			if l := u.lessons[x]; l.waiting != 0 {
				u.lessons[x] = lesson{waiting: l.waiting}
			} else {
				delete(u.lessons, x)
			}
		}
		u.told, u.teaching, u.telling = received{}, nil, 0
		return Record{recReceived, told.encode(), true}, !told.empty(), nil
	}
	return rec, false, nil
}

// judged gives each section's judgement to whoever cut it.
func (u *Outgoing) judged(a *wire.DigestAnswer) (rec Record, due bool, err error) {
	lane := slices.IndexFunc(u.lanes[:], func(q digests) bool { return q.id == a.ID })
	if lane < 0 {
		return rec, false, nil
	}
	flight := u.lanes[lane].flight
	u.lanes[lane].id, u.lanes[lane].flight = 0, nil
	if len(a.Judgements) != len(flight) {
		return rec, false, fmt.Errorf("%d sections have %d judgements", len(flight), len(a.Judgements))
	}
	own := &wire.DigestAnswer{ID: a.ID}
	for i, p := range flight {
		if p == nil {
			own.Judgements = append(own.Judgements, a.Judgements[i])
			continue
		}
		p.judge(a.Judgements[i])
	}
	return Record{recJudged, wire.Encode(own).Body, true}, len(own.Judgements) > 0, nil
}
