package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"pando/internal/durable"
)

const (
	lockName = "LOCK"
	// brokenKept is how many .broken copies stay in the folder. Each is at
	// most a few groups long; a node that crashes in a loop must not fill its
	// disk with them.
	brokenKept = 16
)

// Recovery says what Open found and did.
type Recovery struct {
	FirstSeq, LastSeq Seq // LastSeq is FirstSeq−1 if there is no record
	// Created: the log began with this open; its ID is new.
	Created bool
	// CutBytes is the length of a torn tail that was removed, and BrokenCopy
	// the path of the copy made of it. Nothing in it had been acknowledged.
	CutBytes   int64
	BrokenCopy string
	Segments   int // that hold records, the one being filled included
}

// Open opens the log in a folder, or creates it, and recovers from a crash:
// every record that was ever acknowledged is there, and possibly a few that
// were appended after them; all of them are synced before Open returns. It
// reads and checks all segments.
//
// Errors: [ErrCorrupt] with a [*CorruptError] if bytes are damaged that may
// have been acknowledged, in which case nothing was changed; [ErrLocked].
func Open(opts Options) (_ *Log, _ Recovery, err error) {
	if opts.Logger == nil {
		opts.Logger = DefaultOptions("").Logger
	}
	if err := opts.validate(); err != nil {
		return nil, Recovery{}, err
	}
	fail := func(err error) (*Log, Recovery, error) {
		return nil, Recovery{}, fmt.Errorf("open log %s: %w", opts.Dir, err)
	}
	lock, err := lockFolder(opts.FS, opts.Dir)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	v, err := takeSurvey(opts.FS, opts.Dir)
	if err != nil {
		return fail(err)
	}
	if v.corrupt != nil {
		return fail(v.corrupt)
	}
	rec, err := v.mend(opts.FS, opts.SegmentBytes)
	if err != nil {
		return fail(err)
	}
	l, w, err := start(opts, v, &rec)
	if err != nil {
		return fail(err)
	}
	l.lock = lock
	rec.FirstSeq, rec.LastSeq, rec.Segments = l.segs[0].first, l.last, len(l.segs)
	if rec.CutBytes > 0 {
		opts.Logger.Warn("cut a torn tail that was never acknowledged", "bytes", rec.CutBytes, "copy", rec.BrokenCopy, "last", rec.LastSeq)
	}
	l.running = true
	l.done.Add(2)
	go l.writeLoop(w)
	go l.prepareLoop()
	return l, rec, nil
}

// lockFolder makes the folder if need be and takes its lock.
func lockFolder(fsys durable.FS, dir string) (io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("sync folder: %w", err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if errors.Is(err, durable.ErrLocked) {
		err = fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return lock, err
}

// mend removes what a crash left behind: unfinished files, torn bytes, of
// which it keeps a copy, and unused segments of another size.
func (v *survey) mend(fsys durable.FS, segmentBytes int64) (rec Recovery, err error) {
	if err := v.remove(fsys, v.leftovers); err != nil {
		return rec, err
	}
	if err := v.remove(fsys, v.broken[:max(0, len(v.broken)+len(v.cuts)-brokenKept)]); err != nil {
		return rec, err
	}
	for _, c := range v.cuts {
		s := v.scans[c.scan]
		copied, err := cutTail(fsys, v.dir, s, c)
		if err != nil {
			return rec, fmt.Errorf("cut torn tail of %s at byte %d: %w", s.name, c.from, err)
		}
		rec.CutBytes += c.to - c.from
		rec.BrokenCopy = copied
		s.damage = nil
	}
	for v.used >= 0 && !v.scans[v.used].started { // its start frame was torn
		v.used--
	}
	var unused []string
	for i := len(v.scans) - 1; i > v.used; i-- {
		if i > v.used+1 || v.scans[i].pre.size != segmentBytes {
			unused = append(unused, v.scans[i].name)
			v.scans = v.scans[:i]
		}
	}
	return rec, v.remove(fsys, unused)
}

func (v *survey) remove(fsys durable.FS, names []string) error {
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if err := fsys.Remove(filepath.Join(v.dir, name)); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	if err := fsys.SyncDir(v.dir); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// cutTail copies the torn bytes to a .broken file, then makes them zero.
func cutTail(fsys durable.FS, dir string, s *scan, c cut) (copied string, err error) {
	f, err := fsys.OpenWrite(filepath.Join(dir, s.name))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	torn := make([]byte, c.to-c.from)
	if _, err := f.ReadAt(torn, c.from); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	copied = filepath.Join(dir, fmt.Sprintf("%s.%010d%s", s.name, c.from, brokenSuffix))
	if err := durable.WriteFile(fsys, copied, torn); err != nil {
		return "", err
	}
	return copied, durable.ZeroFill(f, c.from, c.to, nil)
}

// start builds the Log from a mended folder and makes sure that its end is
// durable and vouched for.
func start(opts Options, v *survey, rec *Recovery) (_ *Log, _ *writer, err error) {
	l := &Log{
		opts: opts, files: openFiles{fs: opts.FS, dir: opts.Dir},
		notify: make(chan struct{}, 1), work: make(chan struct{}, 1),
		prep: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	l.space = sync.NewCond(&l.mu)
	if l.metrics, err = newMetrics(opts.Registerer); err != nil {
		return nil, nil, err
	}
	w := &writer{}
	defer func() {
		if err == nil {
			return
		}
		l.metrics.unregister()
		if w.f != nil {
			_ = w.f.Close()
		}
		if l.next != nil && l.next.f != w.f {
			_ = l.next.f.Close()
		}
	}()
	for _, s := range v.scans[:v.used+1] {
		l.segs = append(l.segs, s.segment())
	}
	rec.Created = len(l.segs) == 0
	if err := l.resume(v, w); err != nil {
		return nil, nil, err
	}
	l.last, l.synced = w.last, w.last
	l.pending, l.flight = newGroup(l.last+1), newGroup(0)
	l.place = placement{off: w.off, size: w.seg.pre.size}
	if err := l.makeRoom(); err != nil {
		return nil, nil, err
	}
	l.weigh()
	l.metrics.segments.Set(float64(len(l.segs)))
	l.metrics.size.Set(float64(l.sizeLocked()))
	return l, w, nil
}

// resume puts the writer behind the last frame. If the last segment is
// sealed, or there is none, it begins a new one.
func (l *Log) resume(v *survey, w *writer) error {
	var prev [hashSize]byte
	chain := uint32(0)
	if n := len(l.segs); n > 0 {
		s := v.scans[v.used]
		if err := l.secure(s, w); err != nil {
			return fmt.Errorf("secure the tail of %s: %w", s.name, err)
		}
		w.seg, w.last, w.acked = l.segs[n-1], s.last, s.last
		if !s.sealed {
			return errors.Join(l.vouch(w), l.adoptNext(v))
		}
		prev, chain = s.sum, s.after
		err := w.f.Close()
		if w.f = nil; err != nil {
			return err
		}
	}
	p, err := l.firstUnused(v)
	if err != nil {
		return err
	}
	l.id = p.seg.pre.id
	w.begin(p, chain)
	l.next = p
	if !l.start(w, prev) || !l.sync(w) {
		return l.err
	}
	w.seg.end, w.marked = w.off, true // the sync of the seal came before
	return nil
}

// secure opens the last segment and writes its last group again: a process
// that died may have left it in the page cache only, and after a failed sync
// the kernel holds pages that it believes to be clean.
func (l *Log) secure(s *scan, w *writer) (err error) {
	l.id = s.pre.id
	if w.f, err = l.opts.FS.OpenWrite(filepath.Join(l.opts.Dir, s.name)); err != nil {
		return err
	}
	tail := make([]byte, s.end-s.group)
	if _, err := w.f.ReadAt(tail, s.group); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(tail, s.group); err != nil {
		return err
	}
	if s.sealed && s.size > s.end {
		if err := w.f.Truncate(s.end); err != nil {
			return err
		}
	}
	if err := w.f.Datasync(); err != nil {
		return err
	}
	if !s.sealed {
		w.sum = sumOf(w.f, s.end)
	}
	w.off, w.synced, w.chain = s.end, s.end, s.after
	w.marked = s.vouched
	return nil
}

// vouch writes a mark behind the tail that was just synced, unless there is
// one, so that damage to it will never pass for a torn write.
func (l *Log) vouch(w *writer) error {
	if w.marked || w.off+markSize+sealSize > w.seg.pre.size {
		w.marked = true
		return nil
	}
	b, chain := w.header(kindMark).frame(nil, w.seg.seed, w.off)
	if !l.put(w, b) || !l.sync(w) {
		return l.err
	}
	w.chain, w.marked = chain, true
	w.seg.end = w.off
	return nil
}

// firstUnused returns the unused segment that is there, or makes one. The
// limit on size does not count here: a log needs a segment to be open at all.
func (l *Log) firstUnused(v *survey) (*prepared, error) {
	if i := v.used + 1; i < len(v.scans) {
		return l.adopt(v.scans[i])
	}
	pre := preamble{id: l.id, number: 1, size: l.opts.SegmentBytes}
	if n := len(l.segs); n > 0 {
		pre.number = l.segs[n-1].pre.number + 1
	} else {
		var err error
		if pre.id, err = random64(); err != nil {
			return nil, err
		}
	}
	return l.newSegment(pre)
}

// adoptNext takes the unused segment that is there as the next one.
func (l *Log) adoptNext(v *survey) (err error) {
	if i := v.used + 1; i < len(v.scans) {
		l.next, err = l.adopt(v.scans[i])
	}
	return err
}

func (l *Log) adopt(s *scan) (*prepared, error) {
	f, err := l.opts.FS.OpenWrite(filepath.Join(l.opts.Dir, s.name))
	if err != nil {
		return nil, err
	}
	return &prepared{seg: s.segment(), f: f}, nil
}

// segment turns the result of a scan into a segment of a Log.
func (s *scan) segment() *segment {
	return &segment{
		name: s.name, pre: s.pre, seed: s.seed, first: s.first, chain: s.chain,
		last: s.last, end: s.end, sealed: s.sealed, sum: s.sum, index: s.index,
	}
}
