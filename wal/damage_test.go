package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"pando/internal/durable/faulty"
)

// place is where a frame stands.
type place struct {
	segment  string
	off, end int64
	header   header
}

// frames lists all frames of a log, with the preambles as frames of kind 0.
func frames(t *testing.T, disk *faulty.Disk) (list []place) {
	t.Helper()
	v, err := takeSurvey(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v.scans {
		list = append(list, place{segment: s.name, end: preambleSize})
		f, err := disk.Open(filepath.Join(dir, s.name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := scanSegment(f, s.name, func(h header, off int64, _ []byte) error {
			list = append(list, place{s.name, off, off + h.size(), h})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// written makes a log of n records, three to a sync, and closes it. An unused
// segment follows the last one.
func written(t *testing.T, n int) *faulty.Disk {
	t.Helper()
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	for l.Last() < Seq(n) {
		mustAppend(t, l, min(3, n-int(l.Last())))
	}
	mustClose(t, l)
	v := must(takeSurvey(disk, dir))
	if v.used == len(v.scans)-1 {
		pre := v.scans[v.used].pre
		pre.number++
		_ = must(createSegment(disk, dir, pre, nil)).Close()
	}
	return disk
}

// Every byte of a log that was closed is either acknowledged, and damage to
// it refused by name, or it is not, and damage to it cut.
func TestFlippedByteIsNeverSilentlyWrong(t *testing.T) {
	const n = 24
	disk := written(t, n)
	list := frames(t, disk)
	last := list[len(list)-1]
	for last.header.kind == 0 { // prepared segments
		last = list[slices.Index(list, last)-1]
	}
	if last.header.kind != kindMark || last.header.seq != n {
		t.Fatalf("the log ends with %+v", last)
	}
	names, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if segmentNumber(name) == 0 {
			continue
		}
		path := filepath.Join(dir, name)
		for off := range int64(len(disk.Bytes(path))) {
			frame := owner(list, name, off)
			damaged := disk.Clone()
			damaged.Flip(path, off, 1<<(off%8))
			switch {
			case frame != nil && *frame != last:
				mustRefuse(t, damaged, name, frame.off)
			case frame != nil || off%16 == 0:
				mustCut(t, damaged, n)
			default: // zeros: the report is enough for most of them
				if r := must(Inspect(damaged, dir)); r.Damage != nil || len(r.Torn) != 1 || r.Last != n {
					t.Fatalf("byte %d of %s: %+v", off, name, r)
				}
			}
		}
	}
}

func owner(list []place, name string, off int64) *place {
	for i, p := range list {
		if p.segment == name && p.off <= off && off < p.end {
			return &list[i]
		}
	}
	return nil
}

func mustRefuse(t *testing.T, disk *faulty.Disk, name string, off int64) {
	t.Helper()
	before := disk.Ops()
	_, _, err := Open(small(disk))
	var c *CorruptError
	if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || c.Segment != name || c.Offset != off || c.Hint() == "" {
		t.Fatalf("open gave %v, want damage in %s at %d", err, name, off)
	}
	if disk.Ops() > before+1 { // the parent folder is synced
		t.Errorf("an open that refuses made %d operations", disk.Ops()-before)
	}
}

func mustCut(t *testing.T, disk *faulty.Disk, last Seq) {
	t.Helper()
	l, rec := mustOpen(t, small(disk))
	if rec.LastSeq != last || rec.CutBytes == 0 || len(disk.Bytes(rec.BrokenCopy)) != int(rec.CutBytes) {
		t.Fatalf("recovered %+v, want a cut behind record %d", rec, last)
	}
	check(t, l, 1, last)
	mustAppend(t, l, 5)
	mustClose(t, l)
	l, rec = mustOpen(t, small(disk))
	if rec.CutBytes != 0 {
		t.Errorf("cut again: %+v", rec)
	}
	check(t, l, 1, last+5)
	mustClose(t, l)
}

// Without a mark the last group has no voucher: this is the documented
// window. Damage before it is refused all the same.
func TestLastGroupWithoutVoucher(t *testing.T) {
	const n = 8
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	mustAppend(t, l, n-1)
	mustAppend(t, l, 1)
	killed := disk.Reboot(faulty.Fate{})
	_ = l.Close()
	list := frames(t, killed)
	record := slices.IndexFunc(list, func(p place) bool { return p.header.seq == n && p.header.kind == kindRecord })
	if list[record].header.synced() != n-1 {
		t.Fatalf("the last record is synced to %d", list[record].header.synced())
	}
	damaged := killed.Clone()
	damaged.Flip(filepath.Join(dir, list[record].segment), list[record].off+40, 1)
	mustCut(t, damaged, n-1)
	before := list[record-1]
	damaged = killed.Clone()
	damaged.Flip(filepath.Join(dir, before.segment), before.off+40, 1)
	mustRefuse(t, damaged, before.segment, before.off)
}

func TestMissingAndForeignSegments(t *testing.T) {
	disk := written(t, 50)
	names := slices.DeleteFunc(must(disk.ReadDir(dir)), func(n string) bool { return segmentNumber(n) == 0 })
	if len(names) < 5 {
		t.Fatalf("only segments %v", names)
	}
	path := func(i int) string { return filepath.Join(dir, names[i]) }

	gap := disk.Clone()
	_ = gap.Remove(path(2))
	mustRefuse(t, gap, names[2], 0)

	swapped := disk.Clone()
	_ = swapped.Remove(path(1))
	_ = swapped.Rename(path(2), path(1))
	mustRefuse(t, swapped, names[1], 0)

	short := disk.Clone()
	short.Cut(path(1), 700)
	var c *CorruptError
	if _, _, err := Open(small(short)); !errors.As(err, &c) || c.Segment != names[1] {
		t.Errorf("a shortened segment: %v", err)
	}

	foreign := disk.Clone()
	other := written(t, 50)
	f := must(foreign.OpenWrite(path(1)))
	_ = f.Truncate(0)
	_, _ = f.WriteAt(other.Bytes(path(1)), 0)
	mustRefuse(t, foreign, names[1], 0)
}

// Bytes of another history of the same log, as after a disk was partly rolled
// back: every checksum is right, only the chain tells.
func TestSplicedHistoryIsRefused(t *testing.T) {
	disk := written(t, 50)
	branch := func(first byte) (*faulty.Disk, []place) {
		d := disk.Clone()
		l, _ := mustOpen(t, small(d))
		for i := range byte(40) {
			if _, err := l.Append([]byte{first, i}, false); err != nil {
				t.Fatal(err)
			}
			mustWait(t, l, l.Last())
		}
		mustClose(t, l)
		return d, frames(t, d)
	}
	ours, list := branch('a')
	theirs, _ := branch('b')
	splice := func(p place, off, end int64) *faulty.Disk {
		d := ours.Clone()
		path := filepath.Join(dir, p.segment)
		f := must(d.OpenWrite(path))
		_ = must(f.WriteAt(theirs.Bytes(path)[off:end], off))
		return d
	}
	second := slices.IndexFunc(list, func(p place) bool { return p.header.seq == 53 && p.header.kind == kindRecord })
	mustRefuse(t, splice(list[second], list[second].off, list[second].end), list[second].segment, list[second].off)

	// The segment that was prepared before the histories parted.
	next := second + slices.IndexFunc(list[second:], func(p place) bool { return p.header.kind == kindStart })
	size := int64(len(ours.Bytes(filepath.Join(dir, list[next].segment))))
	mustRefuse(t, splice(list[next], 0, size), list[next].segment, preambleSize)
}

// An open and an idle log both write a mark, after which damage to the last
// record cannot pass for a torn write.
func TestMarksVouchForTheLastRecord(t *testing.T) {
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	mustAppend(t, l, 1)
	killed := disk.Reboot(faulty.Fate{})
	_ = l.Close()
	l, _ = mustOpen(t, small(killed))
	mustRefuseRecord(t, killed.Reboot(faulty.Fate{}), 1)
	_ = l.Close()

	disk = faulty.New()
	l, _ = mustOpen(t, small(disk))
	mustAppend(t, l, 1)
	end := l.Segments()[0].Bytes
	eventually(t, "mark of the idle log", func() bool { return l.Segments()[0].Bytes == end+markSize })
	mustRefuseRecord(t, disk.Reboot(faulty.Fate{}), 1)
	_ = l.Close()
}

// mustRefuseRecord damages one record and expects the log to be refused.
func mustRefuseRecord(t *testing.T, disk *faulty.Disk, seq Seq) {
	t.Helper()
	for _, p := range frames(t, disk) {
		if p.header.seq == seq && p.header.kind == kindRecord {
			disk.Flip(filepath.Join(dir, p.segment), p.off+headerSize, 1)
			mustRefuse(t, disk, p.segment, p.off)
			return
		}
	}
	t.Fatalf("record %d is not there", seq)
}

// Payloads that hold frames which the log itself would write later, at every
// alignment, must not vouch for anything.
func TestFramesInsidePayloadsAreNoVouchers(t *testing.T) {
	disk := faulty.New()
	o := small(disk)
	o.SegmentBytes = 64 << 10
	l, _ := mustOpen(t, o)
	mustAppend(t, l, 6)
	mustClose(t, l)
	name := frames(t, disk)[0].segment
	from := must(Inspect(disk, dir)).Segments[0].Bytes

	future := disk.Clone()
	o.FS = future
	l, _ = mustOpen(t, o)
	for range 10 {
		mustAppend(t, l, 2)
	}
	mustClose(t, l)
	path := filepath.Join(dir, name)
	image := future.Bytes(path)[from+200 : must(Inspect(future, dir)).Segments[0].Bytes]

	o.FS = disk
	l, _ = mustOpen(t, o)
	if _, err := l.Append(append(make([]byte, 400), bytes.Repeat(image, 8)...), false); err != nil {
		t.Fatal(err)
	}
	mustWait(t, l, 7)
	killed := disk.Reboot(faulty.Fate{})
	_ = l.Close()
	killed.Flip(path, from+headerSize+3, 0xff)
	o.FS = killed
	l, rec, err := Open(o)
	if err != nil || rec.LastSeq != 6 || rec.CutBytes < int64(len(image)) {
		t.Fatalf("%+v, %v", rec, err)
	}
	check(t, l, 1, 6)
	mustClose(t, l)
}

func TestCheckpointVouchesForTheLog(t *testing.T) {
	disk := faulty.New()
	l, _ := mustOpen(t, small(disk))
	mustAppend(t, l, 3)
	mustAppend(t, l, 1)
	if err := l.WriteCheckpoint(t.Context(), Checkpoint{Seq: 4}); err != nil {
		t.Fatal(err)
	}
	killed := disk.Reboot(faulty.Fate{})
	_ = l.Close()
	mustRefuseRecord(t, killed, 4)
}

func TestRepair(t *testing.T) {
	disk := written(t, 50)
	list := frames(t, disk)
	hurt := list[len(list)/2]
	disk.Flip(filepath.Join(dir, hurt.segment), hurt.off+9, 1)

	r, err := Inspect(disk, dir)
	if err != nil || r.Damage == nil || r.Damage.Segment != hurt.segment || r.Damage.Offset != hurt.off {
		t.Fatalf("inspect: %+v, %v", r.Damage, err)
	}
	if err := Verify(disk, dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	if _, err := Repair(disk, dir, RepairOptions{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("repair without force: %v", err)
	}
	mustRefuse(t, disk, hurt.segment, hurt.off)

	r, err = Repair(disk, dir, RepairOptions{Force: true})
	if err != nil || r.MovedTo != dir+".broken-1" || r.ID != 0 {
		t.Fatalf("forced repair: %+v, %v", r, err)
	}
	intact := Seq(0)
	err = Records(disk, r.MovedTo, 1, func(seq Seq, rec []byte) error {
		if intact++; seq != intact || !bytes.Equal(rec, content(seq)) {
			t.Errorf("record %d %q after %d", seq, rec, intact-1)
		}
		return nil
	})
	if !errors.Is(err, ErrCorrupt) || intact < 10 {
		t.Errorf("the old log gives %d records, then %v", intact, err)
	}
	l, rec := mustOpen(t, small(disk))
	if !rec.Created {
		t.Errorf("after the repair: %+v", rec)
	}
	mustClose(t, l)
}

func TestRepairOfUnusedSegmentNeedsNoForce(t *testing.T) {
	disk := written(t, 24)
	v, err := takeSurvey(disk, dir)
	if err != nil || v.used == len(v.scans)-1 {
		t.Fatalf("no prepared segment: %v", err)
	}
	name := v.scans[len(v.scans)-1].name
	disk.Flip(filepath.Join(dir, name), 20, 1)
	mustRefuse(t, disk, name, 0)
	if _, err := Repair(disk, dir, RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	l, rec := mustOpen(t, small(disk))
	defer l.Close()
	if rec.LastSeq != 24 {
		t.Errorf("%+v", rec)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
