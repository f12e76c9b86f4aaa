package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"pando/internal/durable"
)

// Report is what [Inspect] and [Repair] tell of a folder.
type Report struct {
	Dir         string
	ID          uint64 // 0: there is no segment
	First, Last Seq    // as far as the log is intact; Last is First−1 if empty
	Segments    []SegmentInfo
	Bytes       int64 // of all segment files, unused ones included
	// Torn are writes that a crash interrupted, or that a running process is
	// just making: nothing in them was acknowledged, the next open cuts them.
	Torn []TornWrite
	// Damage is what keeps the log from being opened, or nil.
	Damage      *CorruptError
	Checkpoints []CheckpointInfo // newest first
	Broken      []string         // copies kept by earlier recoveries
	Unfinished  []string         // files of interrupted writes; the next open removes them
	// MovedTo is where a forced repair put the damaged log; "" if it did not.
	MovedTo string
}

// TornWrite is a range of bytes at the end of a log that were never
// acknowledged.
type TornWrite struct {
	Segment string
	Offset  int64
	Bytes   int64
}

// Inspect reads the log in dir without changing or locking anything, so it
// may look at a log in use. Damage is part of the report; an error means that
// the folder cannot be read.
func Inspect(fsys durable.FS, dir string) (Report, error) {
	v, err := surveyInUse(fsys, dir)
	if err != nil {
		return Report{}, fmt.Errorf("inspect: %w", err)
	}
	r, err := v.report(fsys)
	if err != nil {
		return Report{}, fmt.Errorf("inspect: %w", err)
	}
	return r, nil
}

// surveyAttempts is how often the survey of a log in use is tried.
const surveyAttempts = 16

// errChanging says that a log was changed during each survey of it.
var errChanging = errors.New("the log changes faster than it can be looked at: try again, or stop the node first")

// surveyInUse takes a survey of a log that somebody may be writing. A
// rotation or a trim during it looks like damage, so only what two surveys
// in a row agree on counts.
func surveyInUse(fsys durable.FS, dir string) (*survey, error) {
	var before *CorruptError
	fault := errChanging
	for range surveyAttempts {
		v, err := takeSurvey(fsys, dir)
		if err != nil {
			fault = err
			continue
		}
		if v.corrupt == nil || before != nil && *before == *v.corrupt {
			return v, nil
		}
		before, fault = v.corrupt, errChanging
	}
	return nil, fault
}

func (v *survey) report(fsys durable.FS) (r Report, err error) {
	r = Report{
		Dir: v.dir, First: v.first(), Last: v.last(), Damage: v.corrupt,
		Broken: v.broken, Unfinished: v.leftovers,
	}
	for _, s := range v.scans {
		r.Bytes += s.size
		if s.pre.id != 0 {
			r.ID = s.pre.id
		}
		if s.started {
			r.Segments = append(r.Segments, s.segment().info())
		}
	}
	for _, c := range v.cuts {
		r.Torn = append(r.Torn, TornWrite{v.scans[c.scan].name, c.from, c.to - c.from})
	}
	r.Checkpoints, err = Checkpoints(fsys, v.dir)
	return r, err
}

// Verify checks what Open checks, and beyond it the SHA-256 of each sealed
// segment and of each checkpoint. It changes nothing. Its error wraps
// [ErrCorrupt] and joins everything found. A torn tail is no fault.
func Verify(fsys durable.FS, dir string) error {
	v, err := surveyInUse(fsys, dir)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var faults []error
	if v.corrupt != nil {
		faults = append(faults, v.corrupt)
	}
	for _, s := range v.scans {
		if s.sealed {
			faults = append(faults, verifyHash(fsys, dir, s))
		}
	}
	list, err := Checkpoints(fsys, dir)
	faults = append(faults, err)
	for _, c := range list {
		_, err := readCheckpointFile(fsys, filepath.Join(dir, c.Name))
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("verify %s: %w", dir, err)
	}
	return nil
}

func verifyHash(fsys durable.FS, dir string, s *scan) (err error) {
	f, err := fsys.Open(filepath.Join(dir, s.name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h, err := hashPrefix(f, s.end-sealSize)
	if err != nil {
		return fmt.Errorf("hash %s: %w", s.name, err)
	}
	if [hashSize]byte(h.Sum(nil)) != s.sum {
		return &CorruptError{Segment: s.name, Offset: 0, Reason: "SHA-256 of the segment does not match its seal", Advice: restoreAdvice}
	}
	return nil
}

// Records calls visit for each record from the given sequence on, in order,
// without opening or locking the log: for replay and for archived copies. The
// bytes are valid during the call; an error of visit ends the walk. Of a
// damaged log it visits what lies before the damage and returns a
// [*CorruptError].
func Records(fsys durable.FS, dir string, from Seq, visit func(Seq, []byte) error) error {
	v, err := surveyInUse(fsys, dir)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	for _, s := range v.scans {
		if !s.started || s.last < from {
			continue
		}
		if v.corrupt != nil && v.corrupt.Segment < s.name {
			break
		}
		if err := s.records(fsys, dir, from, visit); err != nil {
			return fmt.Errorf("read records: %w", err)
		}
	}
	if v.corrupt != nil {
		return fmt.Errorf("read records: %w", v.corrupt)
	}
	return nil
}

func (s *scan) records(fsys durable.FS, dir string, from Seq, visit func(Seq, []byte) error) (err error) {
	f, err := fsys.Open(filepath.Join(dir, s.name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = scanSegment(f, s.name, func(h header, _ int64, payload []byte) error {
		if h.kind != kindRecord || h.seq < from {
			return nil
		}
		return visit(h.seq, payload)
	})
	return err
}

// RepairOptions says what [Repair] may do.
type RepairOptions struct {
	// Force lets it give up a log whose acknowledged bytes are damaged.
	Force bool
}

// maxAside bounds the search for a free name to move a log to.
const maxAside = 1000

// Repair makes the log in dir fit to be opened. It does what Open does: cuts
// torn tails after copying them, and removes unfinished files; and it moves
// unused segments that are damaged out of the way.
//
// Damage in acknowledged bytes it leaves alone, and returns the
// [*CorruptError], unless forced. Then the whole folder is renamed to
// DIR.broken-1 (or the next free number), in one step, and the next Open
// creates a new log with a new ID. Nothing is thrown away: the old folder can
// still be read with [Inspect] and [Records]. Cutting the old log at the
// damage and going on with it is not offered: its sequences would be given
// out a second time, with other content, under the same ID, and the nodes
// above would take the new records for those they already have.
func Repair(fsys durable.FS, dir string, opts RepairOptions) (r Report, err error) {
	lock, err := lockFolder(fsys, dir)
	if err != nil {
		return Report{}, fmt.Errorf("repair %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	v, err := takeSurvey(fsys, dir)
	for err == nil && v.corrupt != nil && v.harmless {
		if err = setAside(fsys, dir, v.corrupt.Segment); err == nil {
			v, err = takeSurvey(fsys, dir)
		}
	}
	if err != nil {
		return Report{}, fmt.Errorf("repair %s: %w", dir, err)
	}
	moved := ""
	switch {
	case v.corrupt == nil:
		_, err = v.mend(fsys, 0)
	case opts.Force:
		moved, err = moveAside(fsys, dir)
	default:
		err = v.corrupt
	}
	if err != nil {
		r, _ := v.report(fsys) // the error that counts is err
		return r, fmt.Errorf("repair %s: %w", dir, err)
	}
	r, err = Inspect(fsys, dir)
	r.MovedTo = moved
	return r, err
}

// setAside renames a damaged segment that never held a frame.
func setAside(fsys durable.FS, dir, name string) error {
	path := filepath.Join(dir, name)
	if err := fsys.Rename(path, path+brokenSuffix); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// moveAside renames the whole folder and makes an empty one in its place.
func moveAside(fsys durable.FS, dir string) (string, error) {
	for n := 1; n <= maxAside; n++ {
		to := fmt.Sprintf("%s%s-%d", filepath.Clean(dir), brokenSuffix, n)
		if _, err := fsys.ReadDir(to); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := fsys.Rename(dir, to); err != nil {
			return "", err
		}
		if err := fsys.MkdirAll(dir); err != nil {
			return "", err
		}
		return to, fsys.SyncDir(filepath.Dir(filepath.Clean(dir)))
	}
	return "", fmt.Errorf("%d damaged logs lie beside it already: remove some", maxAside)
}
