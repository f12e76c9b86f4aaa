package input

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"pando/event"
)

const (
	// chunkBytes is read at a time.
	chunkBytes = 128 << 10

	// turnBytes is what one path may give per round, so that a large backlog
	// of one file does not keep the others waiting.
	turnBytes = 1 << 20

	// scanEvery is how often a pattern is looked up again. What appears in
	// between is unknown until then, so Status.AsOf does not go beyond it.
	scanEvery = int64(250 * time.Millisecond)

	// pollPerFile keeps many idle files from costing much: a stat is about
	// 1.5 microseconds.
	pollPerFile = 250 * time.Microsecond

	// idlePoll is how often a tail looks after idleAfter without a line, if it
	// is told of changes: each time it wakes costs far more than the look
	// itself. It bounds how old the last look is, and so the width of the next
	// line's interval.
	idlePoll  = 100 * time.Millisecond
	idleAfter = int64(time.Second)

	// unclaimedFor is how long a position may wait for its file, whose file
	// system may be mounted late, until it is retired.
	unclaimedFor = int64(time.Hour)
)

// tail follows files. One goroutine, Run's, does everything; only status is
// shared.
//
//	poll ─ for each lineage, a path and its rotated files, old to new:
//	         path gone or another file ── rotated; open what came since
//	         same file, cut or overwritten ── truncated; its next generation
//	         read ─ split ─ extract ─ outbox ── Put
//	         rotated, at its end, quiet ── close, retire its position
type tail struct {
	spec   Spec
	rules  *mapper
	x      *extractor
	out    *outbox
	counts *metrics
	clock  func() int64
	log    *slog.Logger

	pattern  bool // Path names more than one file
	rotated  *regexp.Regexp
	resume   [event.Lanes][]mark // that found no file yet
	known    bool                // there were positions at the start
	newest   int                 // the highest generation given, in this life or before
	begun    int64               // monotonic ns of the first poll
	active   int64               // monotonic ns of the last read
	lineages []*lineage          // sorted by path
	scanned  int64               // monotonic ns of the last look at the pattern
	surplus  bool                // the pattern names more files than allowed
	retire   []string            // to go with the next item
	chunk    []byte

	mu     sync.Mutex
	status Status // Readable to Positions, without counts
}

func newTail(o Options, rules *mapper, counts *metrics) (*tail, error) {
	t := &tail{
		spec: o.Spec, rules: rules, counts: counts, clock: o.Clock, log: o.Logger,
		x:       newExtractor(rules, counts, o.Wall),
		out:     &outbox{sink: o.Sink, stamps: newStamper(o.Clock, o.Wall, counts), counts: counts, most: tailPutItems},
		pattern: strings.ContainsAny(o.Spec.Path, `*?[\`),
		rotated: rotatedName(),
		chunk:   make([]byte, chunkBytes),
		status:  Status{Source: o.Spec.Name},
	}
	for l := range t.resume {
		var err error
		if t.resume[l], err = parseMarks(o.Spec.Name, o.Resume[l]); err != nil {
			return nil, fmt.Errorf("input %q: lane %v: %w", o.Spec.Name, event.Lane(l), err)
		}
		for _, m := range t.resume[l] {
			t.known, t.newest = true, max(t.newest, m.generation)
		}
	}
	if !t.pattern {
		t.lineages = []*lineage{{path: o.Spec.Path}}
	}
	return t, nil
}

// Run implements [Source].
func (t *tail) Run(ctx context.Context) error {
	defer t.closeAll()
	watched, unwatch, err := newWatch(filepath.Dir(t.spec.Path))
	if err == nil {
		defer unwatch()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var changed changes // listened to only while idle
	for {
		woken := false
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case _, woken = <-changed:
			if !woken {
				watched = nil // the watch failed; polling goes on
			}
		}
		busy, err := t.poll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tail %q: %w", t.spec.Name, err)
		}
		wait := max(t.spec.Poll, time.Duration(len(t.lineages))*pollPerFile)
		changed = nil
		switch {
		case busy:
			wait = 0
		case watched != nil && !woken && t.clock()-t.active > idleAfter:
			wait, changed = max(wait, idlePoll), watched
		}
		timer.Reset(wait)
	}
}

// Status implements [Source].
func (t *tail) Status() Status {
	t.mu.Lock()
	s := t.status
	s.Positions = slices.Clone(s.Positions)
	t.mu.Unlock()
	t.counts.fill(&s)
	return s
}

// poll looks at everything once and reads what is there, at most a turn of
// each path. busy says that more is waiting. The only errors are the sink's.
func (t *tail) poll(ctx context.Context) (busy bool, err error) {
	now := t.clock()
	asOf := now
	t.begun = cmp.Or(t.begun, now)
	if now-t.begun > unclaimedFor {
		t.forget(func(*mark) bool { return true })
	}
	var faults []error
	if t.pattern {
		if now-t.scanned >= scanEvery || t.scanned == 0 {
			faults = append(faults, t.scan(now))
		}
		asOf = t.scanned
		if t.surplus {
			faults = append(faults, fmt.Errorf("path %s names more than %d files: raise max_files or narrow it", t.spec.Path, t.spec.MaxFiles))
		}
	}
	caughtUp, open := true, 0
	for i := 0; i < len(t.lineages); i++ {
		l := t.lineages[i]
		end, failed, err := t.follow(ctx, l)
		if err != nil {
			return false, err
		}
		faults = append(faults, failed)
		caughtUp = caughtUp && end
		open += len(l.files)
	}
	if err := t.out.flush(ctx); err != nil {
		return false, err
	}
	t.publish(asOf, caughtUp, errors.Join(faults...))
	return !caughtUp && open > 0 && t.waiting(), nil
}

// waiting reports whether a file is known to hold more.
func (t *tail) waiting() bool {
	for _, l := range t.lineages {
		for _, f := range l.files {
			if !f.atEnd() && f.fault == nil {
				return true
			}
		}
	}
	return false
}

func (t *tail) publish(asOf int64, caughtUp bool, fault error) {
	s := Status{Source: t.spec.Name, Readable: fault == nil, CaughtUp: caughtUp && fault == nil}
	for _, l := range t.lineages {
		for _, f := range l.files {
			s.Lag += max(0, f.size-f.offset)
			if f.id.length > 0 {
				s.Positions = append(s.Positions, f.position())
			}
		}
	}
	if fault != nil {
		s.Error = fault.Error()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.AsOf = t.status.AsOf
	if s.CaughtUp {
		s.AsOf = max(s.AsOf, asOf)
	}
	if s.Error != t.status.Error {
		if s.Error != "" {
			t.log.Warn("source not readable", "error", s.Error)
		} else {
			t.log.Info("source readable again")
		}
	}
	t.status = s
}

// scan looks the pattern up. A name that rotation made of another match is
// that one's sibling and no path of its own.
func (t *tail) scan(now int64) error {
	paths, err := filepath.Glob(t.spec.Path)
	if err != nil {
		return fmt.Errorf("look up %s: %w", t.spec.Path, err)
	}
	slices.Sort(paths)
	known := map[string]bool{}
	for _, l := range t.lineages {
		known[l.path] = true
	}
	all := map[string]bool{}
	for _, p := range paths {
		all[p] = true
	}
	t.surplus = false
	for _, p := range paths {
		if known[p] || t.isSibling(p, all) {
			continue
		}
		if len(t.lineages) >= t.spec.MaxFiles {
			t.surplus = true
			break
		}
		l := &lineage{path: p}
		if t.scanned != 0 {
			l.absent = seen{t.scanned, true}
		}
		t.lineages = append(t.lineages, l)
	}
	// A path that vanished is dropped once its files are read and closed.
	t.lineages = slices.DeleteFunc(t.lineages, func(l *lineage) bool {
		return !all[l.path] && len(l.files) == 0
	})
	slices.SortFunc(t.lineages, func(a, b *lineage) int { return strings.Compare(a.path, b.path) })
	t.scanned = now
	if len(t.lineages) == 0 {
		return fmt.Errorf("path %s names no file", t.spec.Path)
	}
	return nil
}

func (t *tail) isSibling(path string, all map[string]bool) bool {
	for i := len(path) - 1; i > 0 && path[i] != '/'; i-- {
		if (path[i] == '.' || path[i] == '-') && all[path[:i]] && t.rotated.MatchString(path[i:]) {
			return true
		}
	}
	return false
}

func (t *tail) closeAll() {
	for _, l := range t.lineages {
		for _, f := range l.files {
			f.fd.Close()
		}
		l.files = nil
	}
}
