//go:build !zos

package relay

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"pando/internal/pack"
	"pando/stream"
	"pando/stream/anomaly"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
)

// upstream puts what the core says to the root into messages and takes the
// answers back into the log. One digest and one message of findings is under
// way at a time; what comes meanwhile shares the next one.
type upstream struct {
	r *Relay

	mu       sync.Mutex
	live     bool // the core was told that the root is connected
	requests []transport.Message
	sections [][]byte
	findings []anomaly.Finding
	expect   []expectation
	named    []wire.Named
	digest   bool // a digest is under way
	telling  bool // findings are under way
	told     []receipt
	id       uint64
	wake     chan struct{} // capacity 1
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

func newUpstream(r *Relay) *upstream { return &upstream{r: r, wake: make(chan struct{}, 1)} }

// put takes one output of the core. Without a session it is dropped: the core
// says it again when the next one is up.
func (u *upstream) put(o journal.Output) {
	u.mu.Lock()
	defer u.mu.Unlock()
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
		u.expect = append(u.expect, expectation{x, len(o.Body)})
	case outNamed:
		r := pack.NewReader(o.Body)
		u.named = wire.ReadNamed(r)
	default:
		if len(u.requests) < maxRequests {
			u.requests = append(u.requests, transport.Message{Kind: o.Kind, Body: o.Body})
		}
	}
	u.nudge()
}

func (u *upstream) nudge() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// serve uses one session with a root.
func (u *upstream) serve(ctx context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u.mu.Lock()
	u.reset()
	u.live = true
	u.mu.Unlock()
	if _, err := u.r.journal.Append(recUplink, encodeNumbers(1), true); err != nil {
		u.r.log.Error("append to the log", "error", err)
		s.Close("this relay's log takes nothing")
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		defer cancel()
		u.send(ctx, s)
	})
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			break
		}
		if err := u.answer(m); err != nil {
			u.r.log.Warn("session with the root ends", "root", s.Peer().Node(), "error", err)
			s.Close(err.Error())
			break
		}
	}
	cancel()
	sender.Wait()
	u.mu.Lock()
	u.live = false
	u.reset()
	u.mu.Unlock()
	if _, err := u.r.journal.Append(recUplink, encodeNumbers(0), true); err != nil {
		u.r.log.Error("append to the log", "error", err)
	}
}

func (u *upstream) reset() {
	u.requests, u.sections, u.findings, u.expect, u.named, u.told = nil, nil, nil, nil, nil, nil
	u.digest, u.telling = false, false
}

// send sends what waits, whenever it may.
func (u *upstream) send(ctx context.Context, s *transport.Session) {
	for {
		for _, m := range u.due() {
			if s.SendControl(ctx, m) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-u.wake:
		}
	}
}

func (u *upstream) due() []transport.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := u.requests
	u.requests = nil
	if !u.digest && len(u.sections) > 0 {
		n, bytes := 0, 0
		for n < len(u.sections) && n < maxSectionsPerDigest && (n == 0 || bytes+len(u.sections[n]) <= maxDigest) {
			bytes += len(u.sections[n])
			n++
		}
		u.id++
		out = append(out, wire.Encode(&wire.Digest{ID: u.id, Sections: u.sections[:n]}))
		u.sections = u.sections[n:]
		u.digest = true
	}
	if !u.telling && len(u.findings)+len(u.expect)+len(u.named) > 0 {
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
		m.ID = u.id
		out = append(out, wire.Encode(&m))
		u.telling = true
	}
	return out
}

// answer takes one message of the root.
func (u *upstream) answer(m transport.Message) error {
	switch m.Kind {
	case wire.KindClaimAnswer:
		if err := wire.Decode(m.Body, &wire.ClaimAnswer{}); err != nil {
			return err
		}
		return u.record(recClaimed, m.Body)
	case wire.KindDigestAnswer:
		var a wire.DigestAnswer
		if err := wire.Decode(m.Body, &a); err != nil {
			return err
		}
		if a.ID != 0 { // questions have no id
			u.mu.Lock()
			u.digest = false
			u.mu.Unlock()
			u.nudge()
		}
		return u.record(recJudged, m.Body)
	case wire.KindDone:
		u.mu.Lock()
		told := u.told
		u.told, u.telling = nil, false
		u.mu.Unlock()
		u.nudge()
		if len(told) == 0 {
			return nil
		}
		return u.record(recReceived, encodeReceipts(told))
	case wire.KindDirectory:
		var d wire.Directory
		if err := wire.Decode(m.Body, &d); err != nil {
			return err
		}
		u.r.up.SetDirectory(d.Nodes)
	}
	return nil
}

func (u *upstream) record(kind uint8, body []byte) error {
	if _, ok := u.r.append(kind, body, true); !ok {
		return errLog
	}
	return nil
}

// sendStatus tells the root how this relay and its children are.
func (u *upstream) sendStatus() {
	u.mu.Lock()
	live := u.live
	u.mu.Unlock()
	if !live {
		return
	}
	doc, err := json.Marshal(u.r.Report())
	if err != nil || len(doc) > wire.MaxStatus {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) < maxRequests {
		u.requests = append(u.requests, wire.Encode(&wire.Status{JSON: doc}))
	}
	u.nudge()
}

// statusEvery is the pause between statuses.
const statusEvery = time.Second
