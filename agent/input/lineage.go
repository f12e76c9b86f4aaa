package input

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"pando/event"
)

// lineage is a path and the files it named, as far as they are still read.
type lineage struct {
	path    string
	begun   bool    // its files were looked for
	files   []*file // from old to new; the path names the last one, unless that is rotated
	absent  seen    // when the path last named no file
	present int64   // monotonic ns of when it last named one; 0 for never
}

// missingGrace is how long a path may name nothing, as in the middle of a
// rotation, before its source counts as not readable.
const missingGrace = int64(time.Second)

// follow brings a lineage up to date and reads its files, old before new. end
// says that everything was read to its end; fault is what keeps the path from
// being read; err is the sink's.
func (t *tail) follow(ctx context.Context, l *lineage) (end bool, fault, err error) {
	now := t.clock()
	st, statErr := statPath(l.path)
	if statErr == nil && !st.regular {
		statErr = fmt.Errorf("%s is not a regular file", l.path)
	}
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		if l.present == 0 || now-l.present > missingGrace {
			fault = statErr
		}
		if n := len(l.files); n > 0 {
			l.files[n-1].retire(now)
		}
		if !l.begun {
			fault = errors.Join(fault, t.resumeLineage(l, nil))
		}
		l.absent = seen{now, true}
	case statErr != nil:
		fault = statErr
	default:
		l.present = now
		fault = t.attach(l, st)
	}
	fault = errors.Join(fault, t.checkRotated(l))
	if errors.Is(fault, errMoved) {
		return false, nil, nil
	}
	for _, f := range slices.Clone(l.files) {
		if end, err = t.read(ctx, f, now); err != nil || !end {
			return end, errors.Join(fault, f.fault), err
		}
		if f.rotated {
			if err := t.finish(ctx, l, f, now); err != nil {
				return false, fault, err
			}
		}
	}
	return true, fault, nil
}

// checkRotated looks at the files that the path names no more: writers may
// not know it yet.
func (t *tail) checkRotated(l *lineage) error {
	for _, f := range slices.Clone(l.files) {
		if !f.rotated {
			continue
		}
		st, err := statFile(f.fd)
		if err != nil {
			return err
		}
		f.deleted = st.deleted
		if err := t.check(l, f, st); err != nil {
			return err
		}
	}
	return nil
}

// attach makes the lineage's last file the one that its path names now.
func (t *tail) attach(l *lineage, st fileState) error {
	if !l.begun {
		return t.resumeLineage(l, &st)
	}
	if n := len(l.files); n > 0 {
		last := l.files[n-1]
		if last.key == st.key {
			last.rotated = false
			return t.check(l, last, st)
		}
		last.retire(l.present)
		if err := t.between(l, last); err != nil {
			return err
		}
	}
	return t.openNew(l, len(l.files), l.path, st.key, false)
}

// openNew opens a file that was never read, from its beginning, and puts it
// before the lineage's file at. What it holds
// came after its path was last seen without it.
func (t *tail) openNew(l *lineage, at int, path string, key fileKey, rotated bool) error {
	if t.adopt(l, key) {
		return nil
	}
	f, err := t.open(path, key, l)
	if err != nil {
		return err
	}
	if err := f.begin(t.spec.Name, identity{fileKey: key, generation: t.generation()}, [event.Lanes]int64{}); err != nil {
		f.fd.Close()
		return err
	}
	f.rotated, f.before = rotated, l.absent
	if at > 0 {
		last := l.files[at-1].before
		if rotated || !f.before.known || last.known && last.at > f.before.at {
			f.before = last
		}
	}
	l.files = slices.Insert(l.files, at, f)
	return nil
}

// generation numbers a content that was never read. The number is new to the
// source, so a file that got the inode of an earlier one, or was begun anew in
// place, is never taken for that.
func (t *tail) generation() int {
	t.newest++
	return t.newest
}

// between opens the files that came and were rotated away since the last one
// was: the siblings that are newer than it.
func (t *tail) between(l *lineage, last *file) error {
	found, err := t.siblings(l.path)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(found, func(s sibling) bool { return s.key == last.key })
	if at < 0 {
		return nil // moved elsewhere, and later ones with it
	}
	for _, s := range found[at+1:] {
		if t.isOpen(s.key) {
			continue
		}
		if err := t.openNew(l, len(l.files), s.path, s.key, true); err != nil {
			return err
		}
	}
	return nil
}

func (t *tail) isOpen(key fileKey) bool {
	for _, l := range t.lineages {
		for _, f := range l.files {
			if f.key == key {
				return true
			}
		}
	}
	return false
}

// adopt moves an open file here from a lineage whose path names it no more: a
// rename within the pattern. It also answers true for a second name of a file
// that is read under its first.
func (t *tail) adopt(l *lineage, key fileKey) bool {
	for _, other := range t.lineages {
		i := slices.IndexFunc(other.files, func(f *file) bool { return f.key == key })
		if i < 0 || other == l {
			continue
		}
		if st, err := statPath(other.path); err == nil && st.key == key {
			return true
		}
		f := other.files[i]
		other.files = slices.Delete(other.files, i, i+1)
		f.rotated, f.path = false, l.path
		l.files = append(l.files, f)
		return true
	}
	return false
}
