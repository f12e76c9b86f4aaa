//go:build !zos

package root

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"time"

	"pando/internal/pack"
)

// A saved snapshot is a head, the state as [FSM.Freeze] writes it, and the
// SHA-256 of all before it. The head is: magic, length of what follows in two
// bytes, and then: format, index, term, root time, logic version.
const (
	backupMagic  = "PANDOSNP"
	backupFormat = 1
	backupHead   = len(backupMagic) + 2
	// maxBackupHead bounds the fields of the head: five integers.
	maxBackupHead = 64
	// MaxBackup is the most bytes of a saved snapshot.
	MaxBackup = maxSnapshot + 4096
)

// ErrBackup reports a file that is no saved snapshot, or a damaged one.
var ErrBackup = errors.New("not a whole saved snapshot")

// Backup is what a saved snapshot says of itself, and what is in it.
type Backup struct {
	Format uint64 `json:"format"`
	Index  uint64 `json:"index"` // of the last command in it
	Term   uint64 `json:"term"`  // of the leader that gave it
	Time   int64  `json:"time"`  // root time, nanoseconds
	Logic  uint64 `json:"logic"`
	Bytes  int64  `json:"bytes"`  // of the whole file
	SHA256 string `json:"sha256"` // of all but the last 32 bytes, where it stands too
}

// Contents are the counts of what a saved snapshot holds.
type Contents struct {
	Commands  uint64   `json:"commands"`
	Settled   uint64   `json:"settled"` // events, heartbeats included
	Agents    int      `json:"agents"`
	Units     int      `json:"units"`
	Series    int      `json:"series"`
	Incidents int      `json:"incidents"`
	Findings  int      `json:"findings_committed"`
	Roots     []string `json:"roots"` // in the address book
}

// SaveSnapshot writes the state to w: all that was acknowledged before the
// call is in it. Only the leader does it. A writer that fails leaves half a
// file, which a reader notices.
func (r *Root) SaveSnapshot(ctx context.Context, w io.Writer) error {
	lctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if err := r.node.Linearizable(lctx); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	if err := writeBackup(w, r.fsm.whole(), r.node.Stats().Term); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return nil
}

func writeBackup(w io.Writer, v *view, term uint64) error {
	p := pack.NewWriter()
	p.Uint(backupFormat)
	p.Uint(v.index)
	p.Uint(term)
	p.Int(v.now)
	p.Uint(v.logic)
	head := append([]byte(backupMagic), byte(p.Len()>>8), byte(p.Len()))
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	if _, err := out.Write(append(head, p.Bytes()...)); err != nil {
		return err
	}
	if _, err := v.WriteTo(out); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// CheckBackup reads a saved snapshot to its end and checks its hash, but not
// whether the state in it can be read. The error wraps [ErrBackup] if it is
// not whole.
func CheckBackup(in io.Reader) (Backup, error) {
	b, _, err := readBackup(in, io.Discard)
	return b, err
}

// InspectBackup is [CheckBackup], and reads the state too.
func InspectBackup(in io.Reader) (Backup, Contents, error) {
	var state bytes.Buffer
	b, _, err := readBackup(in, &state)
	if err != nil {
		return b, Contents{}, err
	}
	s, err := readState(&state, programLogics())
	if err != nil {
		return b, Contents{}, fmt.Errorf("state in the snapshot: %w", err)
	}
	v := s.freeze()
	c := Contents{Commands: v.count, Settled: v.settled, Agents: v.origins.Len(), Units: v.units.Len(), Series: v.series.Len(),
		Incidents: len(v.set.Incidents()), Findings: len(v.committed), Roots: []string{}}
	for _, server := range v.book {
		c.Roots = append(c.Roots, server.Name)
	}
	return b, c, nil
}

// readBackup copies the state to out and returns its length.
func readBackup(in io.Reader, out io.Writer) (b Backup, size int64, err error) {
	sum := sha256.New()
	t := &tailed{in: io.LimitReader(in, MaxBackup+1), keep: sha256.Size}
	src := io.TeeReader(t, sum)
	n, err := b.readHead(src)
	if err != nil {
		return b, 0, err
	}
	if size, err = io.Copy(out, src); err != nil {
		return b, 0, fmt.Errorf("read snapshot: %w", err)
	}
	b.Bytes = n + size + int64(len(t.tail))
	switch {
	case b.Bytes > MaxBackup:
		return b, 0, fmt.Errorf("above the limit of %d bytes: %w", int64(MaxBackup), ErrBackup)
	case !bytes.Equal(t.tail, b.sum(sum)):
		return b, 0, fmt.Errorf("its SHA-256 is %s and should be %x: it was cut off, or changed: %w", b.SHA256, t.tail, ErrBackup)
	}
	return b, size, nil
}

func (b *Backup) sum(h hash.Hash) []byte {
	sum := h.Sum(nil)
	b.SHA256 = fmt.Sprintf("%x", sum)
	return sum
}

// readHead reads the head and returns its length.
func (b *Backup) readHead(in io.Reader) (int64, error) {
	head := make([]byte, backupHead)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(backupMagic)]) != backupMagic {
		return 0, fmt.Errorf("it does not begin as one: %w", ErrBackup)
	}
	n := int(head[backupHead-2])<<8 | int(head[backupHead-1])
	if n > maxBackupHead {
		return 0, fmt.Errorf("a head of %d bytes: %w", n, ErrBackup)
	}
	fields := make([]byte, n)
	if _, err := io.ReadFull(in, fields); err != nil {
		return 0, fmt.Errorf("it ends in its head: %w", ErrBackup)
	}
	r := pack.NewReader(fields)
	if b.Format = r.Uint("format", math.MaxUint32); r.Err() == nil && b.Format != backupFormat {
		return 0, fmt.Errorf("format %d, this program reads %d: %w", b.Format, backupFormat, ErrBackup)
	}
	b.Index, b.Term, b.Time = r.Uint("index", math.MaxUint64), r.Uint("term", math.MaxUint64), r.Int("time")
	b.Logic = r.Uint("logic", math.MaxUint32)
	if err := r.Done(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return int64(backupHead + n), nil
}

// tailed reads all but the last keep bytes of a stream, which are in tail
// afterwards.
type tailed struct {
	in   io.Reader
	keep int
	tail []byte
	err  error
}

func (t *tailed) Read(p []byte) (int, error) {
	for t.err == nil && len(t.tail) <= t.keep {
		buf := make([]byte, flushAt)
		var n int
		n, t.err = t.in.Read(buf)
		t.tail = append(t.tail, buf[:n]...)
	}
	if n := min(len(p), len(t.tail)-t.keep); n > 0 {
		copy(p, t.tail[:n])
		t.tail = t.tail[n:]
		return n, nil
	}
	return 0, t.err
}

// RestoreSnapshot puts the group's state back to a saved snapshot. Only the
// leader does it. The snapshot is checked as a whole before anything happens.
// Reads through other roots may see the state of before until this returns.
func (r *Root) RestoreSnapshot(ctx context.Context, in io.Reader) (Backup, error) {
	file, err := os.CreateTemp(r.opts.Dir, "restore-*.tmp")
	if err != nil {
		return Backup{}, fmt.Errorf("restore snapshot: %w", err)
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name()) // nothing but a copy of what was sent
	}()
	b, size, err := readBackup(in, file)
	if err != nil {
		return b, fmt.Errorf("restore snapshot: %w", err)
	}
	err = r.change(context.WithoutCancel(ctx), "restore snapshot", func(context.Context) error {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := readState(file, r.fsm.logics); err != nil {
			return err
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return r.goBack(b, size, file)
	})
	return b, err
}

// goBack has the group take the state on. The roots are where they are now,
// not where they were then. Once it has begun, nobody can give it up.
func (r *Root) goBack(b Backup, size int64, state io.Reader) error {
	book := r.book()
	start := time.Now()
	if err := r.node.Restore(b.Index, size, state); err != nil {
		return err
	}
	r.log.Warn("the state was put back to a snapshot", "index", b.Index, "of", time.Unix(0, b.Time), "took", time.Since(start))
	ctx, cancel := context.WithTimeout(context.Background(), changeLimit)
	defer cancel()
	if _, _, err := r.node.Propose(ctx, restoredCommand(r.time.Now())); err != nil {
		return err
	}
	g := r.node.Group()
	for _, s := range book {
		if _, member := g.Find(s.Name); member {
			r.propose(ctx, "address book", serverCommand(r.time.Now(), s))
		}
	}
	r.mark(ctx) // all members compare what they have now
	return nil
}
