//go:build !zos

package root

import (
	"context"
	"fmt"
	"sync"

	"pando/internal/pack"
	"pando/transport"
	"pando/tree/wire"
)

// job is one request of a child and what becomes of it.
type job struct {
	m      transport.Message
	lane   transport.Lane // of the connection that it came on
	relay  string         // in whose name it is
	grant  func()         // gives the message's credit back
	answer transport.Message
	err    error
	done   chan struct{} // closed when answer and err are set
}

// lineup works on at most window requests at a time and answers them in the
// order they came.
type lineup struct {
	jobs   chan *job
	window int
}

func newLineup(window int) *lineup {
	return &lineup{jobs: make(chan *job, maxWaiting), window: window}
}

// run works until ctx ends.
func (l *lineup) run(ctx context.Context, work func(context.Context, *job) (transport.Message, error), reply func(context.Context, *job)) {
	begun := make(chan *job, l.window-1) // and one in the hands of the replier
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case j := <-begun:
				select {
				case <-j.done:
					reply(ctx, j)
				case <-ctx.Done():
					return
				}
			}
		}
	})
	for {
		var j *job
		select {
		case <-ctx.Done():
			return
		case j = <-l.jobs:
		}
		select {
		case begun <- j:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer close(j.done)
			j.answer, j.err = work(ctx, j)
		})
	}
}

// idOf reads the id that every request starts with.
func idOf(body []byte) (uint64, error) {
	r := pack.NewReader(body)
	id := r.Uint("id", 1<<63-1)
	if r.Err() != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, r.Err())
	}
	return id, nil
}

// digestJob is a digest that waits for its turn.
type digestJob struct {
	*job
	digest wire.Digest
}

// settleDigests has the digests of one lane judged one after another, so that
// the sections of one unit keep their order; critical ones do not wait for bulk.
// What came meanwhile shares the next command.
func (c *child) settleDigests(ctx context.Context, lane transport.Lane) {
	for {
		var j *job
		select {
		case <-ctx.Done():
			return
		case j = <-c.digests[lane]:
		}
		round, err := c.gather(j)
		if err == nil {
			err = c.settleRound(ctx, lane, round)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.r.count.refused.Inc()
				c.r.log.Warn("digest failed", "peer", c.peer.Node(), "error", err)
				c.cancel(err)
			}
			return
		}
	}
}

// gather takes the digests that wait, up to a command's size.
func (c *child) gather(first *job) ([]digestJob, error) {
	var round []digestJob
	size := 0
	for j := first; ; {
		d := digestJob{job: j}
		if err := wire.Decode(j.m.Body, &d.digest); err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		round = append(round, d)
		if size += len(j.m.Body); size >= maxPayload {
			return round, nil
		}
		select {
		case j = <-c.digests[first.lane]:
		default:
			return round, nil
		}
	}
}

// settleRound has the sections of some digests judged and answers each digest.
func (c *child) settleRound(ctx context.Context, lane transport.Lane, round []digestJob) error {
	var sections [][]byte
	for i := range round {
		sections = append(sections, round[i].digest.Sections...)
	}
	judged, err := c.settle(ctx, lane, sections)
	for i := range round {
		n := len(round[i].digest.Sections)
		if n > len(judged) {
			break
		}
		a := wire.DigestAnswer{ID: round[i].digest.ID, Judgements: judged[:n]}
		judged = judged[n:]
		if serr := c.s.SendControl(ctx, wire.Encode(&a)); serr != nil {
			return serr
		}
		round[i].grant()
	}
	return err
}
