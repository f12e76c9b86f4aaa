package wal

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"

	"pando/internal/durable/faulty"
	"pando/internal/golden"
)

// sampleSegment makes the bytes of a sealed segment without clock or chance.
func sampleSegment() []byte {
	pre := preamble{id: 0x0123456789abcdef, number: 3, size: minSegmentBytes, salt: 0xfeedfacecafebeef}
	seed := pre.seed()
	out := pre.encode()
	chain := uint32(0)
	put := func(h header, payload []byte) {
		h.group = uint32(len(out))
		b, next := h.frame(payload, seed, int64(len(out)))
		out = append(out, b...)
		chain = next
	}
	put(header{kind: kindStart, seq: 40, chain: 0xdeadbeef}, bytes.Repeat([]byte{0xab}, hashSize))
	g := newGroup(41)
	for i := range Seq(5) {
		g.add(false, content(41+i))
	}
	h := header{seq: 40, group: uint32(len(out)), chain: chain}
	chain = g.finish(h, seed, int64(len(out)))
	out = append(out, g.buf...)
	put(header{kind: kindMark, seq: 45, chain: chain}, nil)
	put(header{kind: kindSeal, seq: 45, chain: chain}, bytes.Repeat([]byte{0xcd}, hashSize))
	return out
}

// The bytes of the formats, compared with those of other machines.
func TestGolden(t *testing.T) {
	c := Checkpoint{Log: 0x0123456789abcdef, Format: 7, Logic: 8, Seq: 45}
	for name, got := range map[string][]byte{"segment": sampleSegment(), "checkpoint-head": c.encodeHead()} {
		golden.Compare(t, name+".golden", []byte(hex.Dump(got)), "raise Format")
	}
	s := scanBytes(t, sampleSegment())
	if s.damage != nil || !s.sealed || s.first != 41 || s.last != 45 || s.pre.number != 3 {
		t.Errorf("the sample reads as %+v", s)
	}
}

// scanBytes scans a file with these bytes under the name of segment 3.
func scanBytes(t testing.TB, b []byte) *scan {
	disk := faulty.New()
	f := must(disk.Create(segmentName(3)))
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	s, err := scanSegment(f, segmentName(3), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever happens to the bytes of a segment, what a scan accepts is a prefix
// of what was written.
func FuzzScan(f *testing.F) {
	sample := sampleSegment()
	records := func(b []byte) (list [][]byte) {
		disk := faulty.New()
		file := must(disk.Create(segmentName(3)))
		_ = must(file.WriteAt(b, 0))
		_ = must(scanSegment(file, segmentName(3), func(h header, _ int64, payload []byte) error {
			if h.kind == kindRecord {
				list = append(list, bytes.Clone(payload))
			}
			return nil
		}))
		return list
	}
	want := records(sample)
	f.Add(uint16(0), []byte("PANDOWAL"), uint16(0))
	f.Add(uint16(64), []byte{0xff, 0xff, 0xff, 0x01}, uint16(1024))
	f.Add(uint16(128), sample[160:300], uint16(1000))
	f.Add(uint16(200), []byte{}, uint16(201))
	f.Fuzz(func(t *testing.T, off uint16, patch []byte, size uint16) {
		b := make([]byte, max(len(sample), int(size)))
		copy(b, sample)
		if int(off) < len(b) {
			copy(b[off:], patch)
		}
		if size != 0 {
			b = b[:size]
		}
		got := records(b)
		if len(got) > len(want) || !slices.EqualFunc(got, want[:len(got)], bytes.Equal) {
			t.Fatalf("records %q", got)
		}
		if s := scanBytes(t, b); s.damage == nil && !bytes.HasPrefix(b, sample[:s.end]) {
			t.Fatalf("damage overlooked in %x", b)
		}
	})
}

// Frames in arbitrary bytes: nothing panics, and what decodes was written for
// that place.
func FuzzFrameHeader(f *testing.F) {
	sample := sampleSegment()
	f.Add(sample[64:96], int64(64))
	f.Add(sample[128:160], int64(64))
	f.Fuzz(func(t *testing.T, b []byte, off int64) {
		pre := must(decodePreamble(sample))
		off = off & (maxSegmentBytes - 1) &^ (alignment - 1)
		h, err := decodeHeader(b, pre.seed(), off, maxSegmentBytes)
		if err == nil && (h.length > MaxRecord || off+h.size() > maxSegmentBytes || headerCRC(b, pre.seed(), off) != h.crc) {
			t.Fatalf("%+v at %d", h, off)
		}
	})
}

func FuzzCheckpointHead(f *testing.F) {
	f.Add(Checkpoint{Log: 1, Format: 2, Logic: 3, Seq: 4, State: []byte("x")}.encodeHead())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, n, err := decodeCheckpointHead(b)
		if err != nil {
			return
		}
		if n > len(b) || c.StateBytes > MaxCheckpoint {
			t.Fatalf("%+v of %d bytes", c, n)
		}
	})
}
