//go:build !zos

package relay

import (
	"fmt"
	"slices"

	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

// Outgoing puts what a relay's core says to the root into messages, for one
// session after the other. One digest and one message of findings is under way
// at a time; what comes meanwhile shares the next one, and so do sections of
// relays below. It is pure; the caller owns the lock.
type Outgoing struct {
	live     bool // there is a root
	requests []transport.Message
	sections [][]byte
	findings []anomaly.Finding
	expect   []expectation
	named    []wire.Named
	digest   uint64    // id of the digest under way, or 0
	flight   []*parcel // whose its sections are; nil: the core's
	packed   uint64    // bytes of the core's sections since they were last counted
	telling  uint64    // id of the findings under way, or 0
	told     []receipt
	id       uint64
	below    *below // nil: no relay can be below
}

// expectation is what was learned of one origin, and its encoded size.
type expectation struct {
	known wire.Expect
	size  int
}

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
func (u *Outgoing) Open() { *u = Outgoing{id: u.id, below: u.below, live: true} }

// Close ends the session. Until the next one opens, what the core says is
// dropped: it says it again then.
func (u *Outgoing) Close() { *u = Outgoing{id: u.id, below: u.below} }

// Waiting is how much was said and not sent.
func (u *Outgoing) Waiting() int {
	return len(u.requests) + len(u.sections) + len(u.findings) + len(u.expect)
}

// Put takes one output of the core.
func (u *Outgoing) Put(o journal.Output) {
	if !u.live {
		return
	}
	switch o.Kind {
	case outSection:
		u.sections = append(u.sections, o.Body)
	case outFinding:
		r := pack.NewReader(o.Body)
		u.findings = append(u.findings, anomaly.ReadFinding(r))
	case outExpect:
		r := pack.NewReader(o.Body)
		x := wire.Expect{Unit: stream.ReadUnit(r), Term: readTerm(r), Known: anomaly.ReadExpectations(r)}
		u.expect = slices.DeleteFunc(u.expect, func(old expectation) bool { return old.known.Unit == x.Unit })
		u.expect = append(u.expect, expectation{x, len(o.Body)})
	case outNamed:
		r := pack.NewReader(o.Body)
		u.named = wire.ReadNamed(r)
	default:
		u.request(transport.Message{Kind: o.Kind, Body: o.Body})
	}
}

func (u *Outgoing) request(m transport.Message) {
	if len(u.requests) < maxRequests {
		u.requests = append(u.requests, m)
	}
}

// Due is what may be sent now. Findings go before the sections that came after
// them, this relay's own and those of relays below.
func (u *Outgoing) Due() []transport.Message {
	out := u.requests
	u.requests = nil
	if m, ok := u.tell(); ok {
		out = append(out, m)
	}
	if u.below != nil {
		out = u.below.passUp(out)
	}
	if m, ok := u.pack(); ok {
		out = append(out, m)
	}
	return out
}

// tell makes the next message of findings and expectations.
func (u *Outgoing) tell() (transport.Message, bool) {
	if u.telling != 0 || len(u.findings)+len(u.expect)+len(u.named) == 0 {
		return transport.Message{}, false
	}
	m := wire.Findings{}
	n := min(len(u.findings), maxFindingsPerMessage)
	m.Findings, u.findings = u.findings[:n:n], u.findings[n:]
	u.told = nil
	for i := range m.Findings {
		u.told = append(u.told, receipt{ID: m.Findings[i].ID, Revision: m.Findings[i].Revision})
	}
	for size := 0; len(u.expect) > 0 && len(m.Expect) < maxFindingsPerMessage; u.expect = u.expect[1:] {
		if size += u.expect[0].size; size > maxDigest && len(m.Expect) > 0 {
			break
		}
		m.Expect = append(m.Expect, u.expect[0].known)
	}
	if len(u.findings) == 0 { // all that they are made of is said
		m.Named, u.named = u.named, nil
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
		u.told, u.telling = nil, 0
		return Record{recReceived, encodeReceipts(told), true}, len(told) > 0, nil
	}
	return rec, false, nil
}

// judged gives each section's judgement to whoever cut it.
func (u *Outgoing) judged(a *wire.DigestAnswer) (rec Record, due bool, err error) {
	if a.ID != u.digest {
		return rec, false, nil
	}
	flight := u.flight
	u.digest, u.flight = 0, nil
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
