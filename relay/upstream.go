//go:build !zos

package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
// way at a time; what comes meanwhile shares the next one. What relays below
// have to say joins it here (see passing.go) and leaves nothing behind.
type upstream struct {
	r *Relay

	mu       sync.Mutex
	live     bool     // the core was told that there is a root
	life     uint64   // counts the times that there was one
	path     []string // nodes above, nearest first; a root at the end while live
	requests []transport.Message
	sections [][]byte
	findings []anomaly.Finding
	expect   []expectation
	digest   uint64    // id of the digest under way, or 0
	flight   []*parcel // whose its sections are; nil: the core's
	telling  uint64    // id of the findings under way, or 0
	told     []receipt
	id       uint64
	below    below
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

func newUpstream(r *Relay) *upstream {
	return &upstream{r: r, wake: make(chan struct{}, 1), below: newBelow()}
}

// put takes one output of the core. Without a root it is dropped: the core
// says it again when there is one.
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

// serve uses one session with a parent. A root is what it is; a relay says
// whether it has one, and says so again when that changes.
func (u *upstream) serve(ctx context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parent := s.Peer()
	above := &wire.Uplink{Life: 1}
	var err error
	if parent.Role == transport.RoleRelay {
		above.Life = 0
		err = s.SendControl(ctx, wire.Encode(&wire.Uplink{}))
	}
	if err = errors.Join(err, u.stand(parent.Node(), above)); err != nil {
		s.Close(err.Error())
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		defer cancel()
		u.send(ctx, s)
	})
	for err == nil {
		var m transport.Message
		if m, err = s.ReceiveControl(ctx); err != nil {
			break
		}
		if m.Kind == wire.KindUplink && parent.Role == transport.RoleRelay {
			above, err = u.hear(parent.Node(), above, m.Body)
		} else {
			err = u.answer(m)
		}
		if err != nil {
			u.r.log.Warn("session with the parent ends", "parent", parent.Node(), "error", err)
			s.Close(err.Error())
		}
	}
	cancel()
	sender.Wait()
	if err := u.stand("", nil); err != nil {
		u.r.log.Error("append to the log", "error", err)
	}
}

// hear takes a parent's word on how it is connected upwards.
func (u *upstream) hear(parent string, last *wire.Uplink, body []byte) (*wire.Uplink, error) {
	m := &wire.Uplink{}
	if err := wire.Decode(body, m); err != nil {
		return last, err
	}
	if m.Life == last.Life && slices.Equal(m.Path, last.Path) {
		return last, nil
	}
	if slices.Contains(m.Path, u.r.name) {
		u.r.count.refused.WithLabelValues("loop").Inc()
		return last, fmt.Errorf("%w: this relay is above %s", errLoop, parent)
	}
	if len(m.Path) >= wire.MaxPath {
		u.r.count.refused.WithLabelValues("loop").Inc()
		return last, fmt.Errorf("%w: %d nodes are above %s", errLoop, len(m.Path), parent)
	}
	return m, u.stand(parent, m)
}

// stand takes note of how this relay is connected upwards, and tells the core
// and the relays below. Whatever had no answer is forgotten: who said it says
// it again. Without a parent, above is nil.
func (u *upstream) stand(parent string, above *wire.Uplink) error {
	u.mu.Lock()
	was := u.live
	u.reset()
	u.path, u.live = nil, false
	if above != nil {
		u.path, u.live = append([]string{parent}, above.Path...), above.Life != 0
	}
	up := uint64(0)
	if u.live {
		up = 1
		u.life++
	}
	u.tellBelow()
	u.mu.Unlock()
	u.r.up.SetRooted(up == 1)
	if up == 0 && !was {
		return nil
	}
	if _, ok := u.r.append(recUplink, encodeNumbers(up), true); !ok {
		return errLog
	}
	return nil
}

func (u *upstream) reset() {
	u.requests, u.sections, u.findings, u.expect, u.told = nil, nil, nil, nil, nil
	u.digest, u.flight, u.telling = 0, nil, 0
	u.below.reset()
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
	if m, ok := u.pack(); ok {
		out = append(out, m)
	}
	if m, ok := u.tell(); ok {
		out = append(out, m)
	}
	return u.passUp(out)
}

// tell puts findings and expectations into the next message.
func (u *upstream) tell() (transport.Message, bool) {
	if u.telling != 0 || len(u.findings)+len(u.expect) == 0 {
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
	u.id++
	m.ID, u.telling = u.id, u.id
	return wire.Encode(&m), true
}

// answer takes one message of the parent. Answers are to requests under way:
// what was asked before this relay stood as it does now has none any more.
func (u *upstream) answer(m transport.Message) error {
	switch m.Kind {
	case wire.KindClaimAnswer, wire.KindDigestAnswer, wire.KindDone:
		answer, id, err := wire.Answer(m.Kind, m.Body)
		switch {
		case err != nil:
			return err
		case *id >= passedIDs:
			return u.passDown(m.Kind, answer, id)
		}
		switch a := answer.(type) {
		case *wire.ClaimAnswer:
			return u.record(recClaimed, m.Body)
		case *wire.DigestAnswer:
			if a.ID == 0 { // questions have no id
				return u.record(recJudged, m.Body)
			}
			return u.judged(a)
		}
		return u.received(*id)
	case wire.KindDirectory:
		var d wire.Directory
		if err := wire.Decode(m.Body, &d); err != nil {
			return err
		}
		u.r.up.SetDirectory(d.Nodes)
	}
	return nil
}

// received takes the answer to findings.
func (u *upstream) received(id uint64) error {
	u.mu.Lock()
	if id != u.telling {
		u.mu.Unlock()
		return nil
	}
	told := u.told
	u.told, u.telling = nil, 0
	u.mu.Unlock()
	u.nudge()
	if len(told) == 0 {
		return nil
	}
	return u.record(recReceived, encodeReceipts(told))
}

func (u *upstream) record(kind uint8, body []byte) error {
	if _, ok := u.r.append(kind, body, true); !ok {
		return errLog
	}
	return nil
}

// sendStatus tells the root how this relay and its agents are, and what relays
// below said of themselves meanwhile.
func (u *upstream) sendStatus() {
	u.mu.Lock()
	live := u.live
	u.mu.Unlock()
	if !live {
		return
	}
	doc, err := json.Marshal(u.r.Report())
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil && len(doc) <= wire.MaxStatus && len(u.requests) < maxRequests {
		u.requests = append(u.requests, wire.Encode(&wire.Status{JSON: doc}))
	}
	for _, m := range u.below.words.fresh() {
		if len(u.requests) < maxRequests {
			u.requests = append(u.requests, m)
		}
	}
	u.nudge()
}

// statusEvery is the pause between statuses.
const statusEvery = time.Second
