package agent

import (
	"context"
	"errors"
	"io"
	"sync"

	"pando/event"
	"pando/event/clock"
	"pando/transport"
	"pando/tree/journal"
	"pando/tree/wire"
	"pando/wal"
)

// link hands the units over to the parent of the present session. It reads
// batches from the log, live ones and old ones alike.
type link struct {
	a        *Agent
	l        *life
	onNewWAL func()

	mu       sync.Mutex
	handover *Handover
	grown    *sync.Cond // something was appended, synced, opened or closed
	session  *transport.Session
}

func newLink(a *Agent, l *life) *link {
	k := &link{a: a, l: l}
	k.grown = sync.NewCond(&k.mu)
	l.journal.View(func(c journal.Core) { k.handover = NewHandover(c.(*Core)) })
	return k
}

// onAppend takes note of a batch in the log.
func (k *link) onAppend(lane event.Lane, last uint64, at wal.Seq) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.handover.Appended(lane, last, at)
	k.handover.Synced(k.l.journal.Log().Synced())
	k.grown.Broadcast()
}

// onSync takes note of how far the log is on disk, and vouches for it.
func (k *link) onSync(seq wal.Seq) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.handover.Synced(seq)
	k.grown.Broadcast()
}

// serve uses one session with a parent.
func (k *link) serve(ctx context.Context, s *transport.Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.grown.Broadcast()
	})
	defer stop()
	k.mu.Lock()
	k.session = s
	k.mu.Unlock()
	var senders sync.WaitGroup
	defer func() {
		cancel()
		senders.Wait()
		k.mu.Lock()
		k.session = nil
		k.handover.Close()
		k.mu.Unlock()
	}()
	if err := k.open(ctx, s); err != nil {
		return
	}
	for {
		m, err := s.ReceiveControl(ctx)
		if err != nil {
			return
		}
		opened, err := k.control(ctx, s, m)
		if err != nil {
			k.a.log.Warn("session with the parent ends", "parent", s.Peer().Node(), "error", err)
			s.Close(err.Error())
			return
		}
		if opened {
			for lane := range event.Lane(event.Lanes) {
				senders.Go(func() { k.send(ctx, s, lane) })
			}
			senders.Go(func() { k.vouch(ctx, s) })
		}
	}
}

// open offers both units to the parent.
func (k *link) open(ctx context.Context, s *transport.Session) error {
	term := k.l.up.NextTerm()
	var m *wire.Open
	k.mu.Lock()
	k.l.journal.View(func(c journal.Core) { m = k.handover.Open(c.(*Core), term) })
	k.mu.Unlock()
	return s.SendControl(ctx, wire.Encode(m))
}

// control takes one message of the parent; opened tells that batches may go.
func (k *link) control(ctx context.Context, s *transport.Session, m transport.Message) (opened bool, err error) {
	switch m.Kind {
	case wire.KindOpened:
		var o wire.Opened
		if err := wire.Decode(m.Body, &o); err != nil {
			return false, err
		}
		return true, k.opened(&o)
	case wire.KindRefused:
		var r wire.Refused
		if err := wire.Decode(m.Body, &r); err != nil {
			return false, err
		}
		return false, k.refused(&r)
	case wire.KindAck:
		var ack wire.Ack
		if err := wire.Decode(m.Body, &ack); err != nil {
			return false, err
		}
		return false, k.acknowledged(&ack)
	case wire.KindClaimed:
		if !k.ours(m.Body) {
			return false, nil
		}
		if _, err := k.l.intake.journal(ctx, ResumeRecord(m.Body)); err != nil {
			return false, err
		}
		k.resumeSources()
	case wire.KindDirectory:
		var d wire.Directory
		if err := wire.Decode(m.Body, &d); err != nil {
			return false, err
		}
		k.l.up.SetDirectory(d.Nodes)
	}
	return false, nil // a kind this version does not know says nothing to it
}

// ours reports whether a Claimed is for this log, which still waits for it.
func (k *link) ours(body []byte) bool {
	var m wire.Claimed
	return wire.Decode(body, &m) == nil && m.WAL == event.WALID(k.l.journal.Log().ID())
}

func (k *link) resumeSources() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.l.resumed:
	default:
		close(k.l.resumed)
	}
}

func (k *link) opened(o *wire.Opened) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.handover.Opened(o); err != nil {
		return k.judge(err)
	}
	k.grown.Broadcast()
	k.a.log.Info("units opened", "wal", o.WAL.String(), "term", o.Term.String(), "critical_from", o.Resume[0], "bulk_from", o.Resume[1])
	return nil
}

// judge passes an error on, and asks for a new log where the content here is
// not what the tree holds.
func (k *link) judge(err error) error {
	if NeedsNewWAL(err) {
		k.onNewWAL()
	}
	return err
}

func (k *link) refused(r *wire.Refused) error {
	if r.Code == wire.RefusedOldTerm {
		k.l.up.RaiseTerm(r.Known)
	}
	return k.judge(RefusalError(r))
}

func (k *link) acknowledged(ack *wire.Ack) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.handover.Acknowledged(ack); err != nil {
		return k.judge(err)
	}
	k.grown.Broadcast()
	return nil
}

// recordSettled writes settled positions into the log; only then may it be
// trimmed up to them.
func (k *link) recordSettled() error {
	for l := range event.Lane(event.Lanes) {
		k.mu.Lock()
		seq, due := k.handover.Settled(l)
		k.mu.Unlock()
		if !due {
			continue
		}
		_, err := appendRecord(k.l.journal, SettledRecord(l, seq))
		if errors.Is(err, wal.ErrFull) {
			continue // it stays due
		}
		if err != nil {
			return err
		}
		k.mu.Lock()
		k.handover.Recorded(l, seq)
		k.mu.Unlock()
	}
	return nil
}

// send reads one lane's batches from the log and sends them, from the resume
// point on, for as long as the session lives.
func (k *link) send(ctx context.Context, s *transport.Session, lane event.Lane) {
	k.mu.Lock()
	next := k.handover.out[lane].Next
	k.mu.Unlock()
	r, chain := k.seek(lane, next)
	for ctx.Err() == nil {
		h, body, err := nextBatch(r, lane)
		if errors.Is(err, io.EOF) {
			r.Skip(k.await(ctx, lane, next))
			continue
		}
		if errors.Is(err, wal.ErrTrimmed) {
			// While the lane had nothing to send, the other lane's records
			// that this reader had still to pass were settled and trimmed.
			r, chain = k.seek(lane, next)
			continue
		}
		if err != nil {
			k.a.log.Error("reading the log to send it", "error", err)
			s.Close("reading the log: " + err.Error())
			return
		}
		if h.First > next {
			err := k.judge(GapError(lane, next, h.First))
			k.a.log.Error("this log is not what the parent holds", "error", err)
			s.Close(err.Error())
			return
		}
		if h.First == next {
			if err := k.sendBatch(ctx, s, &h, chain, body); err != nil {
				return
			}
			next = h.Last() + 1
		}
		chain = event.Chain(chain, body)
	}
}

// seek returns a reader that comes to seq, and the lane's chain value where it
// starts.
func (k *link) seek(lane event.Lane, seq uint64) (*wal.Reader, event.Hash) {
	var from wal.Seq
	var chain event.Hash
	k.l.journal.View(func(c journal.Core) { from, chain = c.(*Core).Seek(lane, seq) })
	return k.l.journal.Log().Reader(max(from, k.l.journal.Log().First())), chain
}

// nextBatch reads the lane's next batch, whose bytes are good until the next
// call; io.EOF means that there is none yet.
func nextBatch(r *wal.Reader, lane event.Lane) (event.Header, []byte, error) {
	for {
		_, b, err := r.Next()
		if err != nil {
			return event.Header{}, nil, err
		}
		if len(b) == 0 || b[0] != recBatch {
			continue
		}
		h, err := event.DecodeHeader(b[1:])
		if err != nil || h.Unit.Lane == lane {
			return h, b[1:], err
		}
	}
}

// await waits until the lane holds a batch that next belongs to, and says where
// that is, if all before it were sent.
func (k *link) await(ctx context.Context, lane event.Lane, next uint64) wal.Seq {
	k.mu.Lock()
	defer k.mu.Unlock()
	for ctx.Err() == nil && k.handover.out[lane].Last < next {
		k.grown.Wait()
	}
	return k.handover.fresh[lane]
}

// largeBatch is the size from which a bulk batch goes out before this disk has it.
const largeBatch = 256 << 10

// awaitSynced waits until this disk holds the lane up to last. The relay steps
// nothing sooner, and what comes without that word costs a message and a record
// more: worth it for large batches, which take their time to the relay's disk.
func (k *link) awaitSynced(ctx context.Context, lane event.Lane, last uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for ctx.Err() == nil && k.handover.out[lane].Synced < last {
		k.grown.Wait()
	}
}

func (k *link) sendBatch(ctx context.Context, s *transport.Session, h *event.Header, before event.Hash, body []byte) error {
	lane := h.Unit.Lane
	if lane == event.Critical || len(body) < largeBatch {
		k.awaitSynced(ctx, lane, h.Last())
	}
	m := &wire.Batch{Before: before, Bytes: body}
	m.Map, m.Mapped = k.mapping(h.Boot)
	k.mu.Lock()
	// Before it goes out, so that no acknowledgement can overtake it.
	durable, open := k.handover.Send(lane, h.Last())
	k.mu.Unlock()
	if !open {
		return transport.ErrClosed
	}
	m.DurableTo = durable
	return s.Send(ctx, transport.Lane(lane), wire.Encode(m))
}

// mapping is the best estimate of root time for a boot's stamps, as known now.
// Without one it tells what the clock of the present boot reads.
func (k *link) mapping(boot clock.Boot) (m clock.Mapping, ok bool) {
	if boot != k.a.clock.Boot() {
		k.l.journal.View(func(c journal.Core) { m, ok = c.(*Core).Clock(boot) })
		return m, ok
	}
	if m, ok = k.a.clock.Mapping(); !ok {
		m = clock.Mapping{Boot: boot, At: k.a.clock.Mono()}
	}
	return m, ok
}

// vouch tells the parent what the agent's disk holds, whenever that moves
// without a batch that would say it.
func (k *link) vouch(ctx context.Context, s *transport.Session) {
	for ctx.Err() == nil {
		var due []wire.Vouch
		k.mu.Lock()
		for ctx.Err() == nil && len(due) == 0 {
			if due = k.handover.Vouches(); len(due) == 0 {
				k.grown.Wait()
			}
		}
		k.mu.Unlock()
		for i := range due {
			if s.SendControl(ctx, wire.Encode(&due[i])) != nil {
				return
			}
		}
	}
}
