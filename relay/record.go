package relay

import (
	"pando/event"
	"pando/internal/pack"
	"pando/stream"
	"pando/tree/custody"
	"pando/tree/wire"
)

// Kinds of the relay's WAL records. They are never renumbered.
const (
	recStart    uint8 = iota + 1 // the process started, under this node name: no session is open
	recConfig                    // content of the configuration of detectors and windows
	recOpen                      // an agent opens its units
	recClose                     // a session ended
	recBatch                     // a batch with its arrival stamp
	recVouch                     // a durable-to without a batch
	recTick                      // root time came to
	recClaimed                   // the root's answer to a claim
	recJudged                    // the root's answer to a digest or a question
	recUplink                    // the connection to the root came or went
	recReceived                  // findings, names of incidents and expectations that the root has committed
	recGrant                     // how many bytes of bulk a second the root lets this relay send
	recClock                     // an estimate of root time
	recPatterns                  // the content of the patterns in force at the root
)

// opening is the body of recOpen.
type opening struct {
	Session uint64 // this relay's number of the session
	Origin  string // from the certificate
	HLC     uint64
	Open    wire.Open
}

// arrival is the body of recBatch.
type arrival struct {
	Session uint64
	Lane    uint8 // of the connection it came on
	At      int64 // root time at this relay
	Batch   wire.Batch
}

// receipt names a finding's revision.
type receipt struct {
	ID       [16]byte
	Revision uint32
}

// received is the body of recReceived.
type received struct {
	Findings []receipt
	Named    []string // ids of provisional incidents
	Taught   uint64   // bytes of expectations
}

func (r *received) empty() bool { return len(r.Findings)+len(r.Named) == 0 && r.Taught == 0 }

const maxText = 1 << 10

func (o *opening) encode() []byte {
	w := pack.NewWriter()
	w.Uint(o.Session)
	w.String(o.Origin)
	w.Uint(o.HLC)
	w.Bin(wire.Encode(&o.Open).Body)
	return w.Bytes()
}

func decodeOpening(b []byte) (o opening, err error) {
	r := pack.NewReader(b)
	o.Session, o.Origin, o.HLC = r.Uint("session", 1<<63), r.String("origin", maxText), r.Uint("hlc", 1<<64-1)
	body := r.Bin("open", len(b))
	if err := r.Done(); err != nil {
		return o, err
	}
	return o, wire.Decode(body, &o.Open)
}

// encodeArrival takes the batch message's body as it came.
func encodeArrival(session uint64, lane uint8, at int64, batch []byte) []byte {
	w := pack.NewWriter()
	w.Grow(len(batch) + 32) // with what stands before it
	w.Uint(session)
	w.Uint(uint64(lane))
	w.Int(at)
	w.Bin(batch)
	return w.Bytes()
}

func decodeArrival(b []byte) (a arrival, err error) {
	r := pack.NewReader(b)
	a.Session, a.Lane, a.At = r.Uint("session", 1<<63), uint8(r.Uint("lane", 1)), r.Int("arrival")
	body := r.Bin("batch", len(b))
	if err := r.Done(); err != nil {
		return a, err
	}
	return a, wire.Decode(body, &a.Batch)
}

// unpacked is an arrival with all that its bytes alone tell.
type unpacked struct {
	arrival
	err    error // of the record
	events *stream.Arrival
	bad    error      // of the batch: its sender's fault
	after  event.Hash // chain value behind the batch
}

func unpack(body []byte) *unpacked {
	x := &unpacked{}
	if x.arrival, x.err = decodeArrival(body); x.err != nil {
		return x
	}
	a := arrivals.Get().(*stream.Arrival)
	if x.bad = a.Decode(x.Batch.Bytes); x.bad != nil {
		arrivals.Put(a)
		return x
	}
	locate(a, &x.arrival)
	x.events, x.after = a, event.Chain(x.Batch.Before, x.Batch.Bytes)
	return x
}

// encodeNumbers serves records that are a few integers.
func encodeNumbers(ns ...uint64) []byte {
	w := pack.NewWriter()
	for _, n := range ns {
		w.Uint(n)
	}
	return w.Bytes()
}

func decodeNumbers(b []byte, ns ...*uint64) error {
	r := pack.NewReader(b)
	for _, n := range ns {
		*n = r.Uint("number", 1<<64-1)
	}
	return r.Done()
}

func encodeTick(now int64) []byte {
	w := pack.NewWriter()
	w.Int(now)
	return w.Bytes()
}

func decodeTick(b []byte) (int64, error) {
	r := pack.NewReader(b)
	now := r.Int("now")
	return now, r.Done()
}

func (m *received) encode() []byte {
	w := pack.NewWriter()
	w.Array(len(m.Findings))
	for _, x := range m.Findings {
		w.Bin(x.ID[:])
		w.Uint(uint64(x.Revision))
	}
	w.Array(len(m.Named))
	for _, id := range m.Named {
		w.String(id)
	}
	w.Uint(m.Taught)
	return w.Bytes()
}

func decodeReceived(b []byte) (m received, err error) {
	r := pack.NewReader(b)
	for range r.Array("receipts", maxPendingFindings) {
		var x receipt
		copy(x.ID[:], r.Bin("id", len(x.ID)))
		x.Revision = uint32(r.Uint("revision", 1<<32-1))
		m.Findings = append(m.Findings, x)
		if r.Err() != nil {
			return m, r.Err()
		}
	}
	for range r.Array("names", maxProvisional) {
		m.Named = append(m.Named, r.String("name", maxText))
		if r.Err() != nil {
			return m, r.Err()
		}
	}
	m.Taught = r.Uint("taught", maxSeq)
	return m, r.Done()
}

func appendTerm(w *pack.Writer, t custody.Term) {
	w.Uint(t.Epoch)
	w.Uint(t.Session)
}

func readTerm(r *pack.Reader) custody.Term {
	return custody.Term{Epoch: r.Uint("epoch", 1<<63), Session: r.Uint("session", 1<<63)}
}
