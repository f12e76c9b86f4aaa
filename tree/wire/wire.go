// Package wire holds the messages that the nodes of the tree send each other
// over a [transport.Session], and their bytes. A message is a kind and a body
// of msgpack scalars in a fixed order, read with caps (see internal/pack).
// It says nothing of what they mean for custody: that is tree/custody.
//
// Between an agent and a relay:
//
//	Open      → the agent opens its two units
//	Opened    ← where each lane resumes
//	Refused   ← the session may not have the units
//	Batch     → a batch of one lane, on that lane
//	Vouch     → durable-to: what the agent's disk holds
//	Ack       ← durable and settled, per lane
//	Claimed   ← the root granted the claim: where sources resume
//
// Between a relay and its parent, a root or a relay of a higher tier (each
// request has an id that its answer carries):
//
//	Claim     → take over the units of a WAL id          ← ClaimAnswer
//	Digest    → sections                                 ← DigestAnswer
//	Ask       → how far are these units settled          ← DigestAnswer
//	Findings  → findings and expectations                ← Done
//	Grant     ← how much bulk the relay may send
//	Patterns  ← the patterns in force at the root
//	Forward   → one of these but a digest, or a status, for a relay below
//	Uplink    ← whether a parent that is no root has one (→ asks for it)
//
// On any edge:
//
//	Status    → what a node says of itself and its children, for operators
//	Directory ← the live parents that a child may choose from
package wire

import (
	"fmt"

	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/custody"
)

// Message kinds. They are never renumbered.
const (
	KindOpen uint8 = iota + 1
	KindOpened
	KindRefused
	KindBatch
	KindVouch
	KindAck
	KindClaimed
	KindClaim
	KindClaimAnswer
	KindDigest
	KindDigestAnswer
	KindAsk
	KindFindings
	KindDone
	KindStatus
	KindDirectory
	KindForward
	KindGrant
	KindUplink
	KindPatterns
)

// Caps of what is read from peers.
const (
	maxName       = 256                    // node names, addresses
	maxPositions  = 2 * event.MaxPositions // of a section: a batch's, on top of what others left in it
	maxSections   = 4096                   // of one digest
	maxUnits      = 4096                   // asked for at once
	maxFindings   = 1024                   // of one message
	maxNamed      = 256                    // of one message
	maxReason     = 1024                   // bytes of text for people
	maxNodes      = 4096                   // of one directory
	maxBatchBytes = event.MaxBatchBytes
	MaxStatus     = 1 << 20 // bytes of a status document
	maxSeq        = custody.MaxSeq
	transportMax  = transport.MaxMessage
)

// Open is an agent's wish to hand over its units at this relay.
type Open struct {
	WAL    event.WALID
	Term   custody.Term
	Offers [event.Lanes]custody.Offer
	Estate Estate

	// Started is the HLC by which Claimed told the source positions; 0: the WAL
	// is new, and its agent needs them.
	Started uint64
}

// Estate is what an agent's log that was replaced left behind, as far as the
// agent knows. A zero WAL id means that there is none, or that the disk was
// lost with it.
type Estate struct {
	WAL    event.WALID
	Last   [event.Lanes]uint64 // last sequence number
	Unread [event.Lanes]uint64 // events that were not settled and cannot be read again
}

// Opened says where each lane resumes.
type Opened struct {
	WAL    event.WALID
	Term   custody.Term
	Resume [event.Lanes]uint64
}

// Refusal codes of [Refused].
const (
	RefusedOldTerm  = "old-term" // raise the term above Known
	RefusedDiverged = "diverged" // open a new WAL id
	RefusedClosed   = "closed"   // open a new WAL id
	RefusedTwice    = "twice"    // the WAL id has a live session here
	RefusedProtocol = "protocol"
)

// Refused ends an agent's hold on its units in this session.
type Refused struct {
	WAL    event.WALID
	Term   custody.Term
	Code   string
	Reason string
	Known  custody.Term // the highest term known, for old-term
}

// Batch carries one encoded [event.Batch]. The chain value before it and the
// clock mapping lie outside of the batch's immutable bytes.
type Batch struct {
	Before    event.Hash
	DurableTo uint64 // of this lane, at the agent
	Map       clock.Mapping
	// Mapped says that Map relates the batch's boot to root time. Otherwise
	// Map.At is what the agent's clock read when it sent the batch, if Map.Boot
	// is the batch's boot, and nothing is known if it is not.
	Mapped bool
	Bytes  []byte
}

// Vouch is a durable-to without a batch.
type Vouch struct {
	Lane event.Lane
	Seq  uint64
}

// Ack carries both cumulative acknowledgements of one lane.
type Ack struct {
	Lane             event.Lane
	Durable, Settled uint64
}

// Claimed gives a fresh WAL the positions at which its sources resume.
type Claimed struct {
	WAL       event.WALID
	Opened    uint64 // HLC of the session that claimed it
	Positions [event.Lanes][]event.Position
}

// Claim asks the root for both units of a WAL id.
type Claim struct {
	ID      uint64
	Origin  string
	WAL     event.WALID
	Term    custody.Term
	Opened  uint64 // HLC of the session's opening
	Started uint64 // HLC of the session whose claim gave the agent its source positions; 0: none did
	Estate  Estate // of the WAL id before
}

// ClaimAnswer is the root's decision on a claim.
type ClaimAnswer struct {
	ID        uint64
	Origin    string
	WAL       event.WALID
	Term      custody.Term // of the claim
	Granted   bool
	Closed    bool         // the WAL id is closed
	Known     custody.Term // the term in force
	Settled   [event.Lanes]uint64
	Chain     [event.Lanes]event.Hash
	Positions [event.Lanes][]event.Position
	Expect    [event.Lanes]anomaly.Expectations
}

// Section is a run of one unit's batches, folded.
type Section struct {
	Head      custody.Head
	Positions []event.Position // as of Head.To, of the sources that moved
	Rows      stream.Rows
}

// Digest is a batch of sections, sorted by unit.
type Digest struct {
	ID       uint64
	Sections [][]byte // each an encoded Section
}

// Ask asks how far units are settled.
type Ask struct {
	ID    uint64
	Units []event.Unit
}

// Judgement is the root's word on one section, or on one unit asked for.
type Judgement struct {
	Unit    event.Unit
	Term    custody.Term // of the section
	To      uint64       // of the section; 0 for an answer to Ask
	Verdict custody.Verdict
	Closed  bool
	InForce custody.Term // of the unit's owner; zero if the root does not know the unit
	Settled uint64
	Chain   event.Hash
}

// DigestAnswer answers Digest and Ask.
type DigestAnswer struct {
	ID         uint64
	Judgements []Judgement
}

// Expect is what a relay learned of a unit it owns.
type Expect struct {
	Unit  event.Unit
	Term  custody.Term
	Known anomaly.Expectations
}

// Findings carries findings, and expectations that changed.
type Findings struct {
	ID       uint64
	Findings []anomaly.Finding
	Expect   []Expect
	Named    []Named // provisional incidents that findings up to here made at the relay
}

// Named is an incident's id, and the finding that it was made of.
type Named struct {
	ID     string
	Anchor anomaly.ID
}

// Done answers Findings.
type Done struct{ ID uint64 }

// Forward wraps a relay's request that its parent passes on: a follower to the
// leader, a relay of a higher tier upwards. Answers travel without it, by their
// id. Digests are not wrapped, as each section names its relay.
type Forward struct {
	Relay string // node that made the request
	Kind  uint8
	Body  []byte
}

// Grant is the rate of bulk sections that a relay may send from now on.
type Grant struct{ BytesPerS uint64 }

// Node is one entry of a [Directory].
type Node struct {
	Name   string // region/name
	Region string
	Addr   string // transport address
	Weight uint32
}

// Directory lists the live nodes that may be parents.
type Directory struct{ Nodes []Node }

func lane(r *pack.Reader) event.Lane { return event.Lane(r.Uint("lane", event.Lanes-1)) }

func appendTerm(w *pack.Writer, t custody.Term) {
	w.Uint(t.Epoch)
	w.Uint(t.Session)
}

func readTerm(r *pack.Reader) custody.Term {
	return custody.Term{Epoch: r.Uint("epoch", maxSeq), Session: r.Uint("session", maxSeq)}
}

func readHash(r *pack.Reader, field string) (h event.Hash) {
	b := r.Bin(field, len(h))
	if r.Err() == nil && len(b) != len(h) {
		r.Fail(field, fmt.Errorf("%d bytes, want %d", len(b), len(h)))
	}
	copy(h[:], b)
	return h
}

func readWAL(r *pack.Reader) event.WALID { return event.WALID(r.Uint("WAL id", 1<<64-1)) }

func appendPositions(w *pack.Writer, ps []event.Position) {
	w.Array(len(ps))
	for _, p := range ps {
		w.String(p.Source)
		w.String(p.File)
		w.Int(p.Offset)
		w.Bool(p.Replayable)
	}
}

func readPositions(r *pack.Reader) []event.Position {
	n := r.Array("positions", maxPositions)
	var ps []event.Position
	for range n {
		ps = append(ps, event.Position{Source: r.String("source", event.MaxName), File: r.String("file", event.MaxName),
			Offset: r.Int("offset"), Replayable: r.Bool("replayable")})
		if r.Err() != nil {
			return nil
		}
	}
	return ps
}

// AppendMapping writes a clock mapping.
func AppendMapping(w *pack.Writer, m clock.Mapping) {
	w.Bin(m.Boot[:])
	w.Int(m.Offset)
	w.Int(m.Bound)
	w.Int(m.At)
	w.Int(m.DriftPPM)
}

// ReadMapping reads a clock mapping.
func ReadMapping(r *pack.Reader) (m clock.Mapping) {
	b := r.Bin("boot", len(m.Boot))
	if r.Err() == nil && len(b) != len(m.Boot) {
		r.Fail("boot", fmt.Errorf("%d bytes, want %d", len(b), len(m.Boot)))
	}
	copy(m.Boot[:], b)
	m.Offset, m.Bound, m.At, m.DriftPPM = r.Int("offset"), r.Int("bound"), r.Int("at"), r.Int("drift")
	if m.Bound < 0 || m.DriftPPM < 0 {
		r.Fail("mapping", fmt.Errorf("negative error bound"))
	}
	return m
}

// Message is one of this package's messages, by pointer.
type Message interface {
	append(w *pack.Writer)
	read(r *pack.Reader)
}

// Encode returns the message's transport form.
func Encode(m Message) transport.Message {
	w := pack.NewWriter()
	m.append(w)
	return transport.Message{Kind: kindOf(m), Body: w.Bytes()}
}

func kindOf(m Message) uint8 {
	switch m.(type) {
	case *Open:
		return KindOpen
	case *Opened:
		return KindOpened
	case *Refused:
		return KindRefused
	case *Batch:
		return KindBatch
	case *Vouch:
		return KindVouch
	case *Ack:
		return KindAck
	case *Claimed:
		return KindClaimed
	case *Claim:
		return KindClaim
	case *ClaimAnswer:
		return KindClaimAnswer
	case *Digest:
		return KindDigest
	case *DigestAnswer:
		return KindDigestAnswer
	case *Ask:
		return KindAsk
	case *Findings:
		return KindFindings
	case *Done:
		return KindDone
	case *Forward:
		return KindForward
	case *Directory:
		return KindDirectory
	case *Status:
		return KindStatus
	case *Grant:
		return KindGrant
	case *Uplink:
		return KindUplink
	case *Patterns:
		return KindPatterns
	}
	return 0
}

// Decode reads the body of a message into m, whose type must be the kind's.
func Decode(body []byte, m Message) error {
	r := pack.NewReader(body)
	m.read(r)
	return r.Done()
}
