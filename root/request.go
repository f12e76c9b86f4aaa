//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"pando/event"
	"pando/internal/pack"
	"pando/root/consensus"
	"pando/transport"
	"pando/tree/wire"
)

var (
	// errMalformed reports bytes that a correct child does not send; its
	// session ends.
	errMalformed = errors.New("malformed request")
	// ErrNoLeader reports that no leader is known or can be reached.
	ErrNoLeader = errors.New("no leader is reachable: is a majority of the roots up?")
)

// Kinds of messages between roots, beside those of package wire. The
// first three travel inside wire.Forward, as relays' requests do.
const (
	kindVote           uint8 = 200 + iota // id, mark, hash; answered by wire.Done
	kindRead                              // id: confirm that you lead
	kindReadAnswer                        // id, index that a read must have seen
	kindPulse                             // see pulse; not answered
	kindStanding                          // id: am I a member
	kindStandingAnswer                    // id, whether, index of the configuration that says so
)

// Pauses between attempts at one request: the first covers a busy moment, the
// last is below an election.
const (
	firstRetry = 2 * time.Millisecond
	lastRetry  = 100 * time.Millisecond
)

// request is a question of a relay, or of this root itself, to the leader.
// Its id is unique on this root, so that answers find their way back.
type request struct {
	relay string // who asks, by certificate
	id    uint64
	lane  transport.Lane // by which it is passed on to the leader
	body  transport.Message
}

// newRequest gives a message an id of this root's own.
func (r *Root) newRequest(relay string, fill func(id uint64) transport.Message) request {
	id := r.requestID.Add(1)
	return request{relay: relay, id: id, body: fill(id)}
}

// decide gets a request decided by the leader, here or elsewhere, and repeats
// it until it is or ctx ends. Errors that repeating does not cure wrap
// errMalformed.
func (r *Root) decide(ctx context.Context, q request) (transport.Message, error) {
	wait := firstRetry
	for {
		answer, err := r.here(ctx, q)
		if errors.Is(err, consensus.ErrNotLeader) {
			answer, err = r.link.call(ctx, q)
		}
		if err == nil || errors.Is(err, errMalformed) || errors.Is(err, consensus.ErrTooLarge) {
			return answer, err
		}
		if ctx.Err() != nil || !pause(ctx, wait/2+time.Duration(rand.Int64N(int64(wait)))) {
			return answer, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		wait = min(2*wait, lastRetry)
	}
}

// here has this member decide a request, which works only while it leads.
func (r *Root) here(ctx context.Context, q request) (transport.Message, error) {
	switch q.body.Kind {
	case wire.KindAsk:
		return r.askHere(ctx, q)
	case kindRead:
		if err := r.node.Linearizable(ctx); err != nil {
			return transport.Message{}, err
		}
		w := pack.NewWriter()
		w.Uint(q.id)
		w.Uint(r.fsm.view().index)
		return transport.Message{Kind: kindReadAnswer, Body: w.Bytes()}, nil
	}
	cmd, err := commandOf(r.time.Now(), q)
	if err != nil {
		return transport.Message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	value, _, err := r.node.Propose(ctx, cmd)
	if err != nil {
		return transport.Message{}, err
	}
	return answerTo(q, value)
}

// answerTo makes what the state machine returned for a request's command into
// the request's answer.
func answerTo(q request, value any) (transport.Message, error) {
	res, ok := value.(result)
	switch {
	case !ok:
		return transport.Message{}, fmt.Errorf("state machine answered %T", value)
	case q.body.Kind == wire.KindDigest:
		return answerDigest(q, res)
	case res.fault != "":
		return transport.Message{}, fmt.Errorf("%w: %s", errMalformed, res.fault)
	case res.answer.Kind == 0:
		return wire.Encode(&wire.Done{ID: q.id}), nil
	}
	return res.answer, nil
}

// answerDigest gives the judgements their request's id. Sections that were
// judged are answered even if others were malformed; see [Root.settle].
func answerDigest(q request, res result) (transport.Message, error) {
	var a wire.DigestAnswer
	if err := wire.Decode(res.answer.Body, &a); err != nil {
		return transport.Message{}, fmt.Errorf("%w: %s", errMalformed, res.fault)
	}
	a.ID = q.id
	return wire.Encode(&a), nil
}

// commandOf turns a request into a command, stamped with root time.
func commandOf(now int64, q request) ([]byte, error) {
	switch q.body.Kind {
	case wire.KindClaim:
		var m wire.Claim
		err := wire.Decode(q.body.Body, &m)
		return claimCommand(now, q.relay, &m), err
	case wire.KindDigest:
		var m wire.Digest
		err := wire.Decode(q.body.Body, &m)
		return digestCommand(now, q.relay, m.Sections), err
	case wire.KindFindings:
		var m wire.Findings
		err := wire.Decode(q.body.Body, &m)
		return findingsCommand(now, q.relay, &m), err
	case kindVote:
		p := pack.NewReader(q.body.Body)
		_, number := p.Uint("id", 1<<63), p.Uint("mark", 1<<64-1)
		var hash event.Hash
		readHash(p, &hash)
		return voteCommand(now, q.relay, number, hash), p.Done()
	}
	return nil, fmt.Errorf("message of kind %d is no request", q.body.Kind)
}

func (r *Root) askHere(ctx context.Context, q request) (transport.Message, error) {
	var m wire.Ask
	if err := wire.Decode(q.body.Body, &m); err != nil {
		return transport.Message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if err := r.node.Linearizable(ctx); err != nil {
		return transport.Message{}, err
	}
	return wire.Encode(&wire.DigestAnswer{ID: q.id, Judgements: r.fsm.view().settledUnits(m.Units)}), nil
}

// settle has sections of a lane judged, in order, in as many commands as they
// need.
func (r *Root) settle(ctx context.Context, relay string, lane transport.Lane, sections [][]byte) ([]wire.Judgement, error) {
	out := make([]wire.Judgement, 0, len(sections))
	for len(sections) > 0 {
		n, size := 0, 0
		for n < len(sections) && n < maxSections {
			if len(sections[n])+sectionOverhead > maxPayload {
				small, err := shrink(sections[n], maxPayload-sectionOverhead)
				if err != nil {
					return out, err
				}
				sections[n] = small
			}
			if size += len(sections[n]) + sectionOverhead; size > maxPayload {
				break
			}
			n++
		}
		q := r.newRequest(relay, func(id uint64) transport.Message {
			return wire.Encode(&wire.Digest{ID: id, Sections: sections[:n]})
		})
		q.lane = lane
		answer, err := r.decide(ctx, q)
		if err != nil {
			return out, err
		}
		var a wire.DigestAnswer
		if err := wire.Decode(answer.Body, &a); err != nil {
			return out, err
		}
		if len(a.Judgements) != n {
			return out, fmt.Errorf("%d sections have %d judgements", n, len(a.Judgements))
		}
		out = append(out, a.Judgements...)
		for i := range a.Judgements {
			if a.Judgements[i].Unit == (event.Unit{}) {
				return out, fmt.Errorf("%w: a section that cannot be read", errMalformed)
			}
		}
		sections = sections[n:]
	}
	return out, nil
}

// commitFindings has findings committed, in as many commands as they need.
func (r *Root) commitFindings(ctx context.Context, relay string, m *wire.Findings) error {
	if len(wire.Encode(m).Body) <= maxPayload {
		q := r.newRequest(relay, func(id uint64) transport.Message {
			m.ID = id
			return wire.Encode(m)
		})
		_, err := r.decide(ctx, q)
		return err
	}
	nf, nx := len(m.Findings), len(m.Expect)
	if nf+nx == 1 {
		if nx == 0 {
			return fmt.Errorf("%w: a finding above %d bytes", errMalformed, maxPayload)
		}
		x := m.Expect[0]
		fit(&x.Known, MaxExpect)
		return r.commitFindings(ctx, relay, &wire.Findings{Expect: []wire.Expect{x}, Named: m.Named})
	}
	if err := r.commitFindings(ctx, relay, &wire.Findings{Findings: m.Findings[:nf/2], Expect: m.Expect[:nx/2]}); err != nil {
		return err
	}
	return r.commitFindings(ctx, relay, &wire.Findings{Findings: m.Findings[nf/2:], Expect: m.Expect[nx/2:], Named: m.Named})
}
