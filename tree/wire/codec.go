package wire

import (
	"fmt"

	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/tree/custody"
)

func (m *Open) append(w *pack.Writer) {
	w.Uint(uint64(m.WAL))
	appendTerm(w, m.Term)
	w.Uint(m.Started)
	for _, o := range m.Offers {
		w.Uint(o.From)
		w.Uint(o.Last)
		w.Uint(o.Synced)
	}
	AppendEstate(w, m.Estate)
}

// AppendEstate writes an estate.
func AppendEstate(w *pack.Writer, e Estate) {
	w.Uint(uint64(e.WAL))
	if e.WAL == 0 {
		return
	}
	for l := range e.Last {
		w.Uint(e.Last[l])
		w.Uint(e.Unread[l])
	}
}

// ReadEstate reads an estate.
func ReadEstate(r *pack.Reader) (e Estate) {
	if e.WAL = readWAL(r); e.WAL == 0 {
		return e
	}
	for l := range e.Last {
		e.Last[l] = r.Uint("last", maxSeq)
		e.Unread[l] = r.Uint("unread", e.Last[l])
	}
	return e
}

func (m *Open) read(r *pack.Reader) {
	m.WAL, m.Term, m.Started = readWAL(r), readTerm(r), r.Uint("started", 1<<64-1)
	for i := range m.Offers {
		m.Offers[i] = custody.Offer{From: r.Uint("from", maxSeq), Last: r.Uint("last", maxSeq), Synced: r.Uint("synced", maxSeq), Started: m.Started}
	}
	m.Estate = ReadEstate(r)
}

func (m *Opened) append(w *pack.Writer) {
	w.Uint(uint64(m.WAL))
	appendTerm(w, m.Term)
	for _, n := range m.Resume {
		w.Uint(n)
	}
}

func (m *Opened) read(r *pack.Reader) {
	m.WAL, m.Term = readWAL(r), readTerm(r)
	for i := range m.Resume {
		m.Resume[i] = r.Uint("resume", maxSeq)
	}
}

func (m *Refused) append(w *pack.Writer) {
	w.Uint(uint64(m.WAL))
	appendTerm(w, m.Term)
	w.String(m.Code)
	w.String(clip(m.Reason))
	appendTerm(w, m.Known)
}

func (m *Refused) read(r *pack.Reader) {
	m.WAL, m.Term = readWAL(r), readTerm(r)
	m.Code, m.Reason, m.Known = r.String("code", maxName), r.String("reason", maxReason), readTerm(r)
}

func clip(s string) string { return s[:min(len(s), maxReason)] }

func (m *Batch) append(w *pack.Writer) {
	w.Bin(m.Before[:])
	w.Uint(m.DurableTo)
	w.Bool(m.Mapped)
	AppendMapping(w, m.Map)
	w.Bin(m.Bytes)
}

func (m *Batch) read(r *pack.Reader) {
	m.Before, m.DurableTo, m.Mapped = readHash(r, "chain"), r.Uint("durable-to", maxSeq), r.Bool("mapped")
	m.Map, m.Bytes = ReadMapping(r), r.Bin("batch", maxBatchBytes)
}

func (m *Vouch) append(w *pack.Writer) {
	w.Uint(uint64(m.Lane))
	w.Uint(m.Seq)
}

func (m *Vouch) read(r *pack.Reader) { m.Lane, m.Seq = lane(r), r.Uint("durable-to", maxSeq) }

func (m *Ack) append(w *pack.Writer) {
	w.Uint(uint64(m.Lane))
	w.Uint(m.Durable)
	w.Uint(m.Settled)
}

func (m *Ack) read(r *pack.Reader) {
	m.Lane, m.Durable, m.Settled = lane(r), r.Uint("durable", maxSeq), r.Uint("settled", maxSeq)
}

func (m *Claimed) append(w *pack.Writer) {
	w.Uint(uint64(m.WAL))
	w.Uint(m.Opened)
	for _, ps := range m.Positions {
		appendPositions(w, ps)
	}
}

func (m *Claimed) read(r *pack.Reader) {
	m.WAL, m.Opened = readWAL(r), r.Uint("opened", 1<<64-1)
	for i := range m.Positions {
		m.Positions[i] = readPositions(r)
	}
}

func (m *Claim) append(w *pack.Writer) {
	w.Uint(m.ID)
	w.String(m.Origin)
	w.Uint(uint64(m.WAL))
	appendTerm(w, m.Term)
	w.Uint(m.Opened)
	w.Uint(m.Started)
	AppendEstate(w, m.Estate)
}

func (m *Claim) read(r *pack.Reader) {
	m.ID, m.Origin, m.WAL = r.Uint("id", maxSeq), r.String("origin", maxName), readWAL(r)
	m.Term, m.Opened, m.Started, m.Estate = readTerm(r), r.Uint("opened", 1<<64-1), r.Uint("started", 1<<64-1), ReadEstate(r)
}

func (m *ClaimAnswer) append(w *pack.Writer) {
	w.Uint(m.ID)
	w.String(m.Origin)
	w.Uint(uint64(m.WAL))
	appendTerm(w, m.Term)
	w.Bool(m.Granted)
	w.Bool(m.Closed)
	appendTerm(w, m.Known)
	for i := range event.Lanes {
		w.Uint(m.Settled[i])
		w.Bin(m.Chain[i][:])
		appendPositions(w, m.Positions[i])
		m.Expect[i].Append(w)
	}
}

func (m *ClaimAnswer) read(r *pack.Reader) {
	m.ID, m.Origin, m.WAL, m.Term = r.Uint("id", maxSeq), r.String("origin", maxName), readWAL(r), readTerm(r)
	m.Granted, m.Closed, m.Known = r.Bool("granted"), r.Bool("closed"), readTerm(r)
	for i := range event.Lanes {
		m.Settled[i], m.Chain[i] = r.Uint("settled", maxSeq), readHash(r, "chain")
		m.Positions[i], m.Expect[i] = readPositions(r), anomaly.ReadExpectations(r)
	}
}

// AppendHead writes the head of a section.
func AppendHead(w *pack.Writer, h custody.Head) {
	stream.AppendUnit(w, h.Unit)
	appendTerm(w, h.Term)
	w.String(h.Relay)
	w.Uint(h.From)
	w.Uint(h.To)
	w.Bin(h.Before[:])
	w.Bin(h.After[:])
	w.Bool(h.Rest)
	w.Bool(h.Resumes)
}

// ReadHead reads the head of a section.
func ReadHead(r *pack.Reader) custody.Head {
	return custody.Head{Unit: stream.ReadUnit(r), Term: readTerm(r), Relay: r.String("relay", maxName),
		From: r.Uint("from", maxSeq), To: r.Uint("to", maxSeq),
		Before: readHash(r, "before"), After: readHash(r, "after"), Rest: r.Bool("rest"), Resumes: r.Bool("resumes")}
}

// EncodeSection returns the bytes of a section, as a digest carries them.
func EncodeSection(s *Section) []byte {
	w := pack.NewWriter()
	AppendHead(w, s.Head)
	appendPositions(w, s.Positions)
	stream.AppendRows(w, s.Rows)
	return w.Bytes()
}

// DecodeSection reads a section.
func DecodeSection(b []byte) (Section, error) {
	r := pack.NewReader(b)
	s := Section{Head: ReadHead(r), Positions: readPositions(r), Rows: stream.ReadRows(r)}
	return s, r.Done()
}

func (m *Digest) append(w *pack.Writer) {
	w.Uint(m.ID)
	w.Array(len(m.Sections))
	for _, s := range m.Sections {
		w.Bin(s)
	}
}

func (m *Digest) read(r *pack.Reader) {
	m.ID = r.Uint("id", maxSeq)
	m.Sections = nil
	for range r.Array("sections", maxSections) {
		m.Sections = append(m.Sections, r.Bin("section", transportMax))
		if r.Err() != nil {
			return
		}
	}
}

func (m *Ask) append(w *pack.Writer) {
	w.Uint(m.ID)
	w.Array(len(m.Units))
	for _, u := range m.Units {
		stream.AppendUnit(w, u)
	}
}

func (m *Ask) read(r *pack.Reader) {
	m.ID = r.Uint("id", maxSeq)
	m.Units = nil
	for range r.Array("units", maxUnits) {
		m.Units = append(m.Units, stream.ReadUnit(r))
		if r.Err() != nil {
			return
		}
	}
}

func (m *DigestAnswer) append(w *pack.Writer) {
	w.Uint(m.ID)
	w.Array(len(m.Judgements))
	for i := range m.Judgements {
		AppendJudgement(w, &m.Judgements[i])
	}
}

func (m *DigestAnswer) read(r *pack.Reader) {
	m.ID = r.Uint("id", maxSeq)
	m.Judgements = nil
	for range r.Array("judgements", maxSections) {
		m.Judgements = append(m.Judgements, ReadJudgement(r))
		if r.Err() != nil {
			return
		}
	}
}

// AppendJudgement writes a judgement.
func AppendJudgement(w *pack.Writer, j *Judgement) {
	stream.AppendUnit(w, j.Unit)
	appendTerm(w, j.Term)
	w.Uint(j.To)
	w.Uint(uint64(j.Verdict))
	w.Bool(j.Closed)
	appendTerm(w, j.InForce)
	w.Uint(j.Settled)
	w.Bin(j.Chain[:])
}

// ReadJudgement reads a judgement.
func ReadJudgement(r *pack.Reader) Judgement {
	return Judgement{Unit: stream.ReadUnit(r), Term: readTerm(r), To: r.Uint("to", maxSeq),
		Verdict: custody.Verdict(r.Uint("verdict", uint64(custody.RefuseForgotten))),
		Closed:  r.Bool("closed"), InForce: readTerm(r), Settled: r.Uint("settled", maxSeq), Chain: readHash(r, "chain")}
}

func (m *Findings) append(w *pack.Writer) {
	w.Uint(m.ID)
	w.Array(len(m.Findings))
	for i := range m.Findings {
		anomaly.AppendFinding(w, m.Findings[i])
	}
	w.Array(len(m.Expect))
	for i := range m.Expect {
		stream.AppendUnit(w, m.Expect[i].Unit)
		appendTerm(w, m.Expect[i].Term)
		m.Expect[i].Known.Append(w)
	}
	AppendNamed(w, m.Named)
}

// AppendNamed writes names of provisional incidents.
func AppendNamed(w *pack.Writer, list []Named) {
	w.Array(len(list))
	for i := range list {
		w.String(list[i].ID)
		w.Bin(list[i].Anchor[:])
	}
}

// ReadNamed reads names of provisional incidents.
func ReadNamed(r *pack.Reader) []Named {
	var list []Named
	for range r.Array("provisional incidents", maxNamed) {
		n := Named{ID: r.String("incident", maxName)}
		b := r.Bin("anchor", len(n.Anchor))
		if r.Err() == nil && len(b) != len(n.Anchor) {
			r.Fail("anchor", fmt.Errorf("%d bytes, want %d", len(b), len(n.Anchor)))
		}
		if r.Err() != nil {
			return nil
		}
		copy(n.Anchor[:], b)
		list = append(list, n)
	}
	return list
}

func (m *Findings) read(r *pack.Reader) {
	*m = Findings{ID: r.Uint("id", maxSeq)}
	for range r.Array("findings", maxFindings) {
		m.Findings = append(m.Findings, anomaly.ReadFinding(r))
		if r.Err() != nil {
			return
		}
	}
	for range r.Array("expectations", maxUnits) {
		m.Expect = append(m.Expect, Expect{Unit: stream.ReadUnit(r), Term: readTerm(r), Known: anomaly.ReadExpectations(r)})
		if r.Err() != nil {
			return
		}
	}
	m.Named = ReadNamed(r)
}

func (m *Done) append(w *pack.Writer) { w.Uint(m.ID) }
func (m *Done) read(r *pack.Reader)   { m.ID = r.Uint("id", maxSeq) }

func (m *Grant) append(w *pack.Writer) { w.Uint(m.BytesPerS) }
func (m *Grant) read(r *pack.Reader)   { m.BytesPerS = r.Uint("bytes a second", maxSeq) }

func (m *Forward) append(w *pack.Writer) {
	w.String(m.Relay)
	w.Uint(uint64(m.Kind))
	w.Bin(m.Body)
}

func (m *Forward) read(r *pack.Reader) {
	m.Relay, m.Kind, m.Body = r.String("relay", maxName), uint8(r.Uint("kind", 255)), r.Bin("body", transportMax)
}

func (m *Directory) append(w *pack.Writer) {
	w.Array(len(m.Nodes))
	for _, n := range m.Nodes {
		w.String(n.Name)
		w.String(n.Region)
		w.String(n.Addr)
		w.Uint(uint64(n.Weight))
	}
}

func (m *Directory) read(r *pack.Reader) {
	m.Nodes = nil
	for range r.Array("nodes", maxNodes) {
		m.Nodes = append(m.Nodes, Node{Name: r.String("name", maxName), Region: r.String("region", maxName),
			Addr: r.String("address", maxName), Weight: uint32(r.Uint("weight", 1<<32-1))})
		if r.Err() != nil {
			return
		}
	}
}

// Status is a document that a node sends up about itself and its children:
// JSON, because only people and their tools read it.
type Status struct{ JSON []byte }

func (m *Status) append(w *pack.Writer) { w.Bin(m.JSON) }
func (m *Status) read(r *pack.Reader)   { m.JSON = r.Bin("status", MaxStatus) }
