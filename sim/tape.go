package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"pando/event"
	"pando/internal/pack"
	"pando/tree/journal"
	"pando/wal"
)

// record is one record of a tape, with the sum of all outputs up to it.
type record struct {
	kind uint8
	body []byte
	sum  event.Hash
}

// checkpoint is a core's state after a record.
type checkpoint struct {
	seq    uint64
	state  []byte
	sum    event.Hash
	oldest uint64 // record that the core needs there; 0: none
}

// image is what a disk holds: a copy can be put back later, or elsewhere.
type image struct {
	id     uint64
	first  uint64 // sequence of recs[0]
	recs   []record
	checks []checkpoint // at most two, as a journal keeps them; newest last
}

func (m *image) last() uint64 { return m.first + uint64(len(m.recs)) - 1 }

func (m *image) clone() image {
	c := *m
	c.recs = append([]record(nil), m.recs...)
	c.checks = append([]checkpoint(nil), m.checks...)
	return c
}

// tape is tree/journal on a simulated disk: append, step, keep the outputs
// until a sync covers them. Only the synced part is sure to survive a crash.
type tape struct {
	image
	w    *world
	name string

	core    journal.Core
	synced  uint64
	syncing bool
	life    int // of the process; syncs of an earlier one mean nothing
	pending *checkpoint
	sum     event.Hash
	queue   []said
	oldest  uint64 // what the core needed at the last checkpoint; 0: nothing
	grown   int    // records since the last checkpoint
	scratch []byte // of chain

	rank    func(uint8) journal.Rank
	full    bool  // no further segment can be had
	limited bool  // by the log's own limit: only what it trims gives room
	most    int   // bytes that it may hold then
	eased   int64 // when a full log was given a checkpoint
	stalled int64 // no sync ends before
	sick    bool  // the next sync fails

	deliver func([]journal.Output)
	onSync  func(seq uint64)
	onTrim  func([]record)
	fail    func(error) // the process must end
}

type said struct {
	at  uint64
	out journal.Output
}

const (
	minSync, maxSync = 200 * microsecond, 8 * millisecond
	// checkpointEvery is the mean distance of checkpoints in records: far
	// more often than in the product, so that restarts meet young ones.
	checkpointEvery = 96
	// segment is what a full log has the reserves of, as the product's has of a
	// segment, and frame what a record takes beside its body.
	segment = 64 << 10
	frame   = 64
	// ownLimits lets logs be full for good, by a limit of their own, instead of
	// until others leave the disk. It is off: a relay that has room for less than
	// an agent sends until its claim is answered ends the session, lets go of what
	// came, and takes the same again, for ever (seeds 28, 147 and 168).
	ownLimits = false
	// easePause is the product's pause between checkpoints of a full log.
	easePause = second
)

func newTape(w *world, name string, rank func(uint8) journal.Rank) *tape {
	t := &tape{w: w, name: name, rank: rank}
	t.wipe()
	return t
}

// wipe makes an empty log under a new id.
func (t *tape) wipe() {
	t.image = image{id: t.w.disk.Uint64()>>1 + 1, first: 1}
	t.synced, t.pending = 0, nil
}

// fetch reads a record again.
func (t *tape) fetch(seq wal.Seq) (uint8, []byte, error) {
	if uint64(seq) < t.first || uint64(seq) > t.last() {
		return 0, nil, fmt.Errorf("record %d is not within %d and %d", seq, t.first, t.last())
	}
	r := &t.recs[uint64(seq)-t.first]
	return r.kind, r.body, nil
}

// open brings a core to the end of the log, and compares what it says with what
// was said. Everything that is found is on disk from then on.
func (t *tape) open(core journal.Core) error {
	t.life++
	t.core, t.queue, t.syncing, t.pending, t.sick = core, nil, false, nil, false
	t.synced, t.oldest, t.grown = t.last(), 0, 0
	from := checkpoint{seq: t.first - 1}
	if n := len(t.checks); n > 0 {
		from = t.checks[n-1]
	} else if t.first > 1 {
		return fmt.Errorf("the log begins at %d and has no checkpoint", t.first)
	}
	sum, err := t.replay(core, from)
	if err != nil {
		return err
	}
	t.oldest = from.oldest
	t.sum = sum
	return nil
}

// replay steps the log from a checkpoint on.
func (t *tape) replay(core journal.Core, from checkpoint) (event.Hash, error) {
	if from.state != nil {
		r := pack.NewReader(from.state)
		if err := core.ReadState(r); err != nil {
			return event.Hash{}, fmt.Errorf("checkpoint at %d: %w", from.seq, err)
		}
		if err := r.Done(); err != nil {
			return event.Hash{}, fmt.Errorf("checkpoint at %d: %w", from.seq, err)
		}
	}
	sum := from.sum
	for seq := from.seq + 1; seq <= t.last(); seq++ {
		r := &t.recs[seq-t.first]
		if err := core.Step(wal.Seq(seq), r.kind, r.body, func(o journal.Output) { sum = t.chain(sum, o) }); err != nil {
			return sum, fmt.Errorf("replay from %d, record %d of kind %d: %w", from.seq, seq, r.kind, err)
		}
		if sum != r.sum {
			return sum, fmt.Errorf("replay from %d: the outputs up to record %d of kind %d differ", from.seq, seq, r.kind)
		}
	}
	return sum, nil
}

// chain continues the sum of a tape's outputs.
func (t *tape) chain(sum event.Hash, o journal.Output) event.Hash {
	b := append(t.scratch[:0], sum[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(o.To)))
	b = append(b, o.To...)
	b = append(b, o.Kind)
	b = append(b, o.Body...)
	t.scratch = b
	return sha256.Sum256(b)
}

// fill lets the log have no further segment. One that reaches its own limit goes on with
// what it trims; a disk that others fill has room again when they leave.
func (t *tape) fill(limited bool) {
	t.full, t.limited = true, t.limited || limited && ownLimits
	t.most = t.size(t.recs) + int(between(t.w.disk, segment/8, segment/3))
	if t.limited {
		t.most = max(t.most, segment/2)
	}
}

func (t *tape) room() int { return t.most - t.size(t.recs) }

// empty ends it, unless the limit is the log's own.
func (t *tape) empty() { t.full = t.limited }

func (t *tape) size(recs []record) (n int) {
	for i := range recs {
		n += frame + len(recs[i].body)
	}
	return n
}

// short reports whether records of a rank are refused.
func (t *tape) short(rank journal.Rank) bool { return t.lacks(rank, 0) }

// lacks reports whether there is no room for n bytes of a rank. What a start
// needs always finds some: the product goes beyond its limit for it.
func (t *tape) lacks(rank journal.Rank, n int) bool {
	return t.full && rank != journal.Last && t.room()-frame-n < int(rank.Leaves(segment))
}

// ease gives a full log a checkpoint, if it begins with what the core does not
// need any more.
func (t *tape) ease() {
	if t.pending != nil || t.w.now-t.eased < easePause {
		return
	}
	t.eased = t.w.now
	oldest := uint64(t.core.Oldest())
	n := len(t.checks)
	if oldest != 0 && oldest <= t.first || n == 2 && t.checks[0].seq == t.last() {
		return
	}
	t.checkpoint()
	if t.synced == t.last() {
		c := *t.pending
		t.pending = nil
		t.keep(c)
	}
}

// append writes one record and lets the core step it.
func (t *tape) append(kind uint8, body []byte) (uint64, error) {
	return t.appendAs(t.rank(kind), kind, body)
}

// appendAs is append for a record that is worth more, or less, than its kind.
func (t *tape) appendAs(rank journal.Rank, kind uint8, body []byte) (uint64, error) {
	if t.full && t.core != nil {
		t.ease()
	}
	if t.lacks(rank, len(body)) {
		t.w.say(t.name, "full, has %d bytes, refuses kind %d (holds %d from %d, needs %d)", t.room(), kind, t.size(t.recs), t.first, t.core.Oldest())
		return 0, wal.ErrFull
	}
	t.recs = append(t.recs, record{kind: kind, body: body})
	seq := t.last()
	t.w.say(t.name, "append %d kind %d %d bytes", seq, kind, len(body))
	err := t.core.Step(wal.Seq(seq), kind, body, func(o journal.Output) {
		t.sum = t.chain(t.sum, o)
		t.queue = append(t.queue, said{seq, o})
	})
	if err != nil {
		t.w.fault("%s: step record %d of kind %d: %v", t.name, seq, kind, err)
		return 0, err
	}
	t.recs[seq-t.first].sum = t.sum
	t.grown++
	if t.pending == nil && t.grown > 8 && chance(t.w.disk, checkpointEvery) {
		t.checkpoint()
	}
	t.sync()
	return seq, nil
}

// sync begins an fsync of all that is appended, unless one is under way.
func (t *tape) sync() {
	if t.syncing || t.synced == t.last() {
		return
	}
	t.syncing = true
	upTo, life := t.last(), t.life
	d := between(t.w.disk, minSync, maxSync)
	if t.stalled > t.w.now {
		d += t.stalled - t.w.now
	}
	t.w.after(d, func() {
		if t.life != life {
			return
		}
		t.syncing = false
		if t.sick {
			t.w.say(t.name, "sync fails")
			t.fail(wal.ErrFailed)
			return
		}
		t.w.say(t.name, "synced %d", upTo)
		t.covered(upTo)
		if t.life == life {
			t.sync()
		}
	})
}

// covered hands out what an fsync covers.
func (t *tape) covered(upTo uint64) {
	t.synced = upTo
	if p := t.pending; p != nil && p.seq <= upTo {
		t.pending = nil
		t.keep(*p)
	}
	n := 0
	for n < len(t.queue) && t.queue[n].at <= upTo {
		n++
	}
	outs := make([]journal.Output, n)
	for i := range outs {
		outs[i] = t.queue[i].out
	}
	t.queue = append(t.queue[:0:0], t.queue[n:]...)
	life := t.life
	if t.onSync != nil {
		t.onSync(upTo)
	}
	if n > 0 && t.life == life {
		t.deliver(outs)
	}
}

// checkpoint takes the state now; it is on disk when a sync covers it.
func (t *tape) checkpoint() {
	t.grown = 0
	w := pack.NewWriter()
	t.core.AppendState(w)
	t.pending = &checkpoint{seq: t.last(), state: bytes.Clone(w.Bytes()), sum: t.sum, oldest: uint64(t.core.Oldest())}
}

// keep makes a checkpoint the newest and trims as a journal does: what neither
// the older checkpoint nor the core, there or now, needs.
func (t *tape) keep(c checkpoint) {
	t.checks = append(t.checks, c)
	needed := earlier(c.oldest, t.oldest)
	t.oldest = c.oldest
	if len(t.checks) < 2 {
		return
	}
	t.checks = append([]checkpoint(nil), t.checks[len(t.checks)-2:]...)
	to := t.checks[0].seq + 1
	if needed != 0 {
		to = min(to, needed)
	}
	if to <= t.first {
		return
	}
	cut := t.recs[:to-t.first]
	t.w.say(t.name, "trim to %d", to)
	if t.onTrim != nil {
		t.onTrim(cut)
	}
	t.recs = append([]record(nil), t.recs[to-t.first:]...)
	t.first = to
}

func earlier(a, b uint64) uint64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// crash leaves the synced part and some of the rest. It returns the records
// that are gone.
func (t *tape) crash() (gone []record) {
	t.life++
	keep := t.synced
	if t.last() > t.synced {
		keep += uint64(between(t.w.disk, 0, int64(t.last()-t.synced)))
	}
	n := min(max(keep+1, t.first)-t.first, uint64(len(t.recs)))
	gone = append(gone, t.recs[n:]...)
	t.recs = t.recs[:n:n]
	t.w.say(t.name, "crash leaves %d, loses %d", t.last(), len(gone))
	return gone
}

// reader steps through the records, as journal readers do.
func (t *tape) reader() func() ([]byte, error) {
	at := t.first
	return func() ([]byte, error) {
		if at > t.last() {
			return nil, io.EOF
		}
		r := &t.recs[at-t.first]
		at++
		return append([]byte{r.kind}, r.body...), nil
	}
}

// verify replays the log from as far back as it goes and compares the end with
// the living core.
func (t *tape) verify(fresh func() (journal.Core, error)) error {
	live := pack.NewWriter()
	t.core.AppendState(live)
	starts := append([]checkpoint(nil), t.checks...)
	if t.first == 1 {
		starts = append(starts, checkpoint{})
	}
	for _, from := range starts {
		core, err := fresh()
		if err != nil {
			return err
		}
		if _, err := t.replay(core, from); err != nil {
			return err
		}
		w := pack.NewWriter()
		core.AppendState(w)
		if !bytes.Equal(w.Bytes(), live.Bytes()) {
			return fmt.Errorf("the state after a replay from %d differs", from.seq)
		}
	}
	return nil
}
