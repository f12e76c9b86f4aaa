package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// TrimBefore removes the sealed segments whose records are all below seq.
// First moves at once; the files go one after the other, oldest first, each
// with a sync of the folder, so that no crash can leave a gap. A file that
// cannot be removed is tried again at the next call.
func (l *Log) TrimBefore(seq Seq) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	l.mu.Lock()
	if err := l.deadLocked(); err != nil {
		l.mu.Unlock()
		return fmt.Errorf("trim before %d: %w", seq, err)
	}
	n := 0
	// Until the segment after it has a synced start frame, a sealed segment
	// is all that knows where the log stands.
	for n < len(l.segs)-1 && l.segs[n].sealed && l.segs[n].last < seq && l.segs[n+1].end > preambleSize {
		n++
	}
	l.doomed = append(l.doomed, l.segs[:n]...)
	l.segs = append([]*segment(nil), l.segs[n:]...)
	doomed := append([]*segment(nil), l.doomed...)
	for _, s := range doomed {
		l.files.forget(s)
	}
	l.metrics.segments.Set(float64(len(l.segs)))
	l.mu.Unlock()

	for _, s := range doomed {
		if err := l.opts.FS.Remove(filepath.Join(l.opts.Dir, s.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("trim before %d: %w", seq, err)
		}
		if err := l.opts.FS.SyncDir(l.opts.Dir); err != nil {
			return fmt.Errorf("trim before %d: sync folder: %w", seq, err)
		}
		l.mu.Lock()
		l.doomed = l.doomed[1:]
		l.weigh()
		l.metrics.size.Set(float64(l.sizeLocked()))
		l.mu.Unlock()
		wake(l.prep)
	}
	return nil
}
