package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"pando/internal/durable"
)

// survey is what a folder holds, found by reading alone. Open, Inspect,
// Verify and Repair all begin with one.
type survey struct {
	dir       string
	scans     []*scan  // by number
	leftovers []string // files of writes that a crash interrupted; worthless
	broken    []string // copies that earlier recoveries kept
	used      int      // index of the last segment with a valid frame, −1 if none
	cuts      []cut    // torn bytes, safe to remove
	corrupt   *CorruptError
	// harmless says that corrupt concerns a segment that never held a frame.
	harmless bool
}

// cut is a range of torn bytes.
type cut struct {
	scan     int
	from, to int64
}

// takeSurvey reads the folder. It fails only if it cannot read.
func takeSurvey(fsys durable.FS, dir string) (*survey, error) {
	v := &survey{dir: dir, used: -1}
	names, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("survey %s: %w", dir, err)
	}
	var segments []string
	for _, name := range names { // sorted, so by number
		switch {
		case segmentNumber(name) != 0:
			segments = append(segments, name)
		case strings.HasSuffix(name, preparedSuffix), strings.HasSuffix(name, durable.TempSuffix):
			v.leftovers = append(v.leftovers, name)
		case strings.HasSuffix(name, brokenSuffix):
			v.broken = append(v.broken, name)
		}
	}
	if v.scans, err = scanFiles(fsys, dir, segments); err != nil {
		return nil, err
	}
	v.judge()
	if v.corrupt == nil {
		if err := v.askCheckpoints(fsys); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// scanFiles scans segments, as many at a time as there are processors.
func scanFiles(fsys durable.FS, dir string, names []string) ([]*scan, error) {
	scans, errs := make([]*scan, len(names)), make([]error, len(names))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(len(names), runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
				scans[i], errs[i] = scanFile(fsys, dir, names[i])
			}
		})
	}
	all.Wait()
	return scans, errors.Join(errs...)
}

func scanFile(fsys durable.FS, dir, name string) (s *scan, err error) {
	f, err := fsys.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return scanSegment(f, name, nil)
}

// judge compares the segments with each other and decides for every damage
// whether a crash can have caused it.
func (v *survey) judge() {
	for i, s := range v.scans {
		if s.started || s.damage != nil && s.damage.alive {
			v.used = i
		}
	}
	for i, s := range v.scans {
		if v.judgeOne(i, s); v.corrupt != nil {
			return
		}
	}
	if len(v.scans) > 0 && v.used < 0 && v.scans[0].pre.number != 1 {
		v.refuse(v.scans[0], preambleSize, "no frame in the whole log, and the segments before are missing")
	}
}

func (v *survey) judgeOne(i int, s *scan) {
	if d := s.damage; d != nil && d.off == 0 {
		v.refuse(s, 0, d.reason)
		v.harmless = i > v.used && i > 0
		return
	}
	if i > 0 && !v.linked(v.scans[i-1], s) {
		return
	}
	switch d := s.damage; {
	case d != nil && (d.vouched || i < v.used):
		v.refuse(s, d.off, d.reason)
		v.harmless = i > v.used
	case d != nil:
		v.cuts = append(v.cuts, cut{scan: i, from: d.off, to: d.dirty})
	case i < v.used && !s.sealed:
		v.refuse(s, s.end, fmt.Sprintf("the segment has no seal, but %s follows it", v.scans[v.used].name))
	}
}

// linked checks that segment s continues segment p.
func (v *survey) linked(p, s *scan) bool {
	switch {
	case s.pre.number != p.pre.number+1:
		v.corrupt = &CorruptError{
			Segment: segmentName(p.pre.number + 1), Reason: fmt.Sprintf("the segment is missing between %s and %s", p.name, s.name),
			Advice: restoreAdvice,
		}
	case s.pre.id != p.pre.id:
		v.refuse(s, 0, fmt.Sprintf("the segment belongs to log %016x, the ones before it to %016x", s.pre.id, p.pre.id))
	case !s.started || !p.started:
	case s.first != p.last+1 || s.chain != p.after || s.prev != p.sum:
		v.refuse(s, preambleSize, fmt.Sprintf("the segment does not continue %s, which ends with record %d", p.name, p.last))
	}
	return v.corrupt == nil
}

func (v *survey) refuse(s *scan, off int64, reason string) {
	v.corrupt = &CorruptError{Segment: s.name, Offset: off, Reason: reason, Advice: restoreAdvice}
}

// askCheckpoints compares the end of the log with the newest checkpoint in
// its folder: a checkpoint is written only when the log is synced up to it.
func (v *survey) askCheckpoints(fsys durable.FS) error {
	if v.used < 0 {
		return nil
	}
	s := v.scans[v.used]
	list, err := Checkpoints(fsys, v.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, c := range list {
		if c.Err == nil && c.Log == s.pre.id && c.Seq > v.last() {
			v.refuse(s, s.end, fmt.Sprintf("the log ends with record %d, but checkpoint %s covers record %d", v.last(), c.Name, c.Seq))
		}
	}
	return nil
}

// first and last are the bounds of the records; last is first−1 if there is
// none.
func (v *survey) first() Seq {
	for _, s := range v.scans {
		if s.started {
			return s.first
		}
	}
	return 1
}

func (v *survey) last() Seq {
	last := v.first() - 1
	for _, s := range v.scans {
		if s.started {
			last = s.last
		}
	}
	return last
}
