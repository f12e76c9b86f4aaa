package event

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"pando/event/clock"
	"pando/internal/golden"
	"pando/internal/pack"
)

// plain is an event of which everything but its time is the default.
func plain(n int) []Event {
	events := make([]Event, n)
	for i := range events {
		hi := int64(1000 + 10*i)
		events[i] = Event{Criticality: 1, Value: 1, Stamp: Stamp{Lo: 0, Hi: hi, Point: hi}}
	}
	return events
}

// varied holds events that make every column take its longest form.
func varied() []Event {
	events := logEvents(20)
	for i := range events {
		e := &events[i]
		e.Kind = Kind(i % 4)
		e.Flags = Flags(i) & allFlags
		e.Value = []float64{1, 0.5, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 1e300, -7, math.MaxFloat64}[i%8]
		e.Stamp.Lo -= int64(i*i) * 100
		e.Stamp.Point -= int64(i * i % 7)
		e.Stamp.Lo = min(e.Stamp.Lo, e.Stamp.Point)
		if i%3 == 0 {
			e.TraceID, e.SpanID, e.Attrs, e.Raw, e.SourceTime, e.Peer = [16]byte{}, [8]byte{byte(i), 1}, nil, nil, 0, ""
		}
		if i%5 == 0 {
			e.ParentID = [8]byte{7: byte(i + 1)}
		}
	}
	events[3].Stamp.Lo = math.MinInt64
	events[4].SourceTime = math.MinInt64
	events[5].HLC = math.MaxUint64
	events[6].Entity, events[6].Source = "", "zürich"
	return events
}

// shapes are batches that between them use every form of every column.
func shapes() map[string]*Batch {
	critical := plain(3)
	for i := range critical {
		critical[i].Criticality = 0
	}
	same := plain(5)
	for i := range same {
		same[i].Value, same[i].Severity, same[i].Entity, same[i].HLC = 0.25, SeverityFatal, "one", 7
	}
	counters := plain(6)
	for i := range counters {
		counters[i].Value = float64(i * i * 1000)
	}
	many := plain(70_000 / 10 * 2)
	for i := range many {
		many[i].Entity = fmt.Sprint(i * 31 % 700)
		many[i].Attrs = []Attr{{"k", fmt.Sprint(i)}}
	}
	limits := plain(1)
	limits[0].Entity = strings.Repeat("e", MaxName)
	limits[0].Attrs = []Attr{{strings.Repeat("k", MaxName), strings.Repeat("v", MaxString)}}
	limits[0].Raw = bytes.Repeat([]byte{0xff}, MaxRaw)
	nan := plain(2)
	nan[1].Value = math.Float64frombits(canonicalNaN)
	all := map[string]*Batch{
		"plain":    batchOf(Bulk, plain(4)),
		"one":      batchOf(Bulk, plain(1)),
		"critical": batchOf(Critical, critical),
		"same":     batchOf(Bulk, same),
		"counters": batchOf(Bulk, counters),
		"metric":   batchOf(Bulk, metricEvents(300)),
		"log":      batchOf(Bulk, logEvents(100)),
		"varied":   batchOf(Bulk, varied()),
		"many":     batchOf(Bulk, many),
		"limits":   batchOf(Bulk, limits),
		"nan":      batchOf(Bulk, nan),
	}
	all["one"].Positions = nil
	return all
}

// equal is reflect.DeepEqual for which a NaN equals itself.
func equal(a, b *Batch) bool {
	if len(a.Events) != len(b.Events) {
		return false
	}
	for i := range a.Events {
		x, y := a.Events[i], b.Events[i]
		if math.Float64bits(x.Value) != math.Float64bits(y.Value) {
			return false
		}
		x.Value, y.Value = 0, 0
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	x, y := *a, *b
	x.Events, y.Events = nil, nil
	return reflect.DeepEqual(x, y)
}

func encoded(t testing.TB, b *Batch) []byte {
	t.Helper()
	out, err := b.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryFormSurvives(t *testing.T) {
	var e Encoder // reused, so that no state of one batch leaks into the next
	var c Columns
	for range 2 {
		for name, b := range shapes() {
			fresh := encoded(t, b)
			reused, err := e.Encode([]byte("before"), b)
			if err != nil || string(reused) != "before"+string(fresh) {
				t.Fatalf("%s: a reused encoder writes other bytes (error %v)", name, err)
			}
			for _, in := range [][]byte{fresh, inVersion1(t, b)} {
				got, err := Decode(in)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !equal(got, b) {
					t.Fatalf("%s: decoded %+v, want %+v", name, got, b)
				}
				if err := c.Decode(in); err != nil || !equal(c.Batch(), b) {
					t.Fatalf("%s: a reused decoder reads something else (error %v)", name, err)
				}
				h, err := DecodeHeader(in)
				if err != nil || !reflect.DeepEqual(h, b.header()) {
					t.Fatalf("%s: header %+v, error %v", name, h, err)
				}
			}
		}
	}
}

// The same bytes on every machine: the files were written on amd64. That the
// compressed ones are too is the library's doing, and makes a simulation's trace
// the same everywhere.
func TestGoldenBytes(t *testing.T) {
	for _, name := range []string{"plain", "one", "critical", "same", "counters", "varied", "nan"} {
		golden.Compare(t, name+".batch", inVersion1(t, shapes()[name]), "raise Version")
	}
	golden.Compare(t, "varied.packed.batch", encoded(t, shapes()["varied"]), "raise Version")
	sum := sha256.Sum256(encoded(t, batchOf(Bulk, logEvents(2000)))) // several blocks of the compressor's
	golden.Compare(t, "log.packed.sha256", fmt.Appendf(nil, "%x\n", sum), "raise Version")
}

func TestEncodeRefuses(t *testing.T) {
	for want, spoil := range map[string]func(b *Batch){
		"origin is empty":              func(b *Batch) { b.Unit.Origin = "" },
		"origin \"\\xff\": not UTF-8":  func(b *Batch) { b.Unit.Origin = "\xff" },
		"lane 2: limit 1":              func(b *Batch) { b.Unit.Lane = 2 },
		"sequences begin at 1":         func(b *Batch) { b.First = 0 },
		"no sequences left":            func(b *Batch) { b.First = math.MaxUint64 },
		"0 events: must be 1 to 65536": func(b *Batch) { b.Events = nil },
		"65537 events: must be":        func(b *Batch) { b.Events = make([]Event, MaxBatchEvents+1) },
		"sequence 1000002 belongs":     func(b *Batch) { b.Events[1].Seq++ },
		"in a batch of lane bulk":      func(b *Batch) { b.Events[1].Criticality = 0 },
		"criticality 4: limit 3":       func(b *Batch) { b.Events[1].Criticality = 4 },
		"point 1011 outside":           func(b *Batch) { b.Events[1].Stamp.Point++ },
		"point 1010 outside":           func(b *Batch) { b.Events[1].Stamp.Lo = 1011 },
		"kind 5: limit 4":              func(b *Batch) { b.Events[1].Kind = 5 },
		"severity 25: limit 24":        func(b *Batch) { b.Events[1].Severity = 25 },
		"flags 0x80":                   func(b *Batch) { b.Events[1].Flags = 0x80 },
		"entity of 1025 bytes":         func(b *Batch) { b.Events[1].Entity = strings.Repeat("x", MaxName+1) },
		"signal \"\\xff\": not UTF-8":  func(b *Batch) { b.Events[1].Signal = "\xff" },
		"65 attributes: limit 64":      func(b *Batch) { b.Events[1].Attrs = make([]Attr, MaxAttrs+1) },
		"must be sorted by key":        func(b *Batch) { b.Events[1].Attrs = []Attr{{"b", ""}, {"a", ""}} },
		"raw of 262145 bytes":          func(b *Batch) { b.Events[1].Raw = make([]byte, MaxRaw+1) },
		"attribute value of 65537":     func(b *Batch) { b.Events[1].Attrs = []Attr{{"a", strings.Repeat("x", MaxString+1)}} },
		"must be sorted by source":     func(b *Batch) { b.Positions = append(b.Positions, b.Positions[0]) },
		"offset -1 is negative":        func(b *Batch) { b.Positions[0].Offset = -1 },
		"bytes of raw: limit 1048576": func(b *Batch) {
			for i := range b.Events {
				b.Events[i].Raw = make([]byte, MaxRaw)
			}
		},
		"takes 1049": func(b *Batch) {
			for i := range 4 {
				b.Events[i].Raw = make([]byte, MaxRaw-64*i)
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			b := batchOf(Bulk, plain(5))
			if strings.HasPrefix(want, "takes") {
				b = batchOf(Bulk, plain(4))
				b.Events[0].Attrs = []Attr{{"a", strings.Repeat("x", 1000)}}
			}
			spoil(b)
			out, err := b.Encode([]byte("x"))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one that says %q", err, want)
			}
			if string(out) != "x" {
				t.Error("destination changed")
			}
		})
	}
}

func TestValidateNamesFieldAndLimit(t *testing.T) {
	ok := varied()[1]
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(e *Event){
		"peer of 1025 bytes: limit 1024": func(e *Event) { e.Peer = strings.Repeat("x", MaxName+1) },
		"attribute key":                  func(e *Event) { e.Attrs = []Attr{{"\xff", ""}} },
		"attribute k of 65537 bytes":     func(e *Event) { e.Attrs = []Attr{{"k", strings.Repeat("x", MaxString+1)}} },
		"limit 524288": func(e *Event) {
			e.Attrs = nil
			for i := range 9 {
				e.Attrs = append(e.Attrs, Attr{string(rune('a' + i)), strings.Repeat("x", MaxString)})
			}
		},
	} {
		e := ok
		spoil(&e)
		if err := e.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// parts is a batch as its values, for tests that bend one of them.
func parts(t *testing.T, b *Batch) (header []byte, columns [][]byte) {
	t.Helper()
	in := inVersion1(t, b)
	r := pack.NewReader(in)
	h := Header{}
	if _, err := h.read(r, in); err != nil {
		t.Fatal(err)
	}
	header = in[:len(in)-r.Left()]
	for r.Left() > 0 {
		columns = append(columns, bytes.Clone(r.Bin("column", MaxBatchBytes)))
	}
	return header, columns
}

func TestDecodeRefuses(t *testing.T) {
	const ( // columns by their place
		hi, lo, point, hlc, sourceTime, flags, kind, criticality, severity, value = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
		entityLengths, entityTexts, entityIndices                                 = 13, 14, 15
		trace, span, parent, attrCounts                                           = 22, 23, 24, 25
		keyIndices, valueTexts, rawLengths, raw                                   = 28, 30, 32, 33
	)
	for name, bend := range map[string]func(c [][]byte) [][]byte{
		"padded varint": func(c [][]byte) [][]byte { c[hi] = append(c[hi][:len(c[hi])-1], 0x80|c[hi][len(c[hi])-1], 0); return c },
		"more numbers":  func(c [][]byte) [][]byte { c[hi] = append(c[hi], 1); return c },
		"fewer numbers": func(c [][]byte) [][]byte { c[hi] = c[hi][:len(c[hi])-1]; return c },
		"lo after hi": func(c [][]byte) [][]byte {
			c[lo] = []byte{formSame, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}
			return c
		},
		"point before lo": func(c [][]byte) [][]byte {
			c[point] = []byte{formSame, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
			return c
		},
		"steps listed":           func(c [][]byte) [][]byte { c[hlc] = append([]byte{formList}, make([]byte, 20)...); return c },
		"zeros not left out":     func(c [][]byte) [][]byte { c[hlc] = []byte{formSame, 0, 0}; return c },
		"unknown form":           func(c [][]byte) [][]byte { c[sourceTime][0] = 9; return c },
		"unknown flag":           func(c [][]byte) [][]byte { c[flags] = []byte{0x40}; return c },
		"zero code not left out": func(c [][]byte) [][]byte { c[flags] = []byte{0}; return c },
		"unknown kind":           func(c [][]byte) [][]byte { c[kind] = []byte{5}; return c },
		"other lane":             func(c [][]byte) [][]byte { c[criticality] = nil; return c },
		"code repeated":          func(c [][]byte) [][]byte { c[severity] = bytes.Repeat([]byte{9}, 20); return c },
		"other NaN":              func(c [][]byte) [][]byte { copy(c[value][1:], "\x02\x00\x00\x00\x00\x00\xf8\x7f"); return c },
		"whole values as floats": func(c [][]byte) [][]byte {
			c[value] = append(append([]byte{formFloats}, make([]byte, 159)...), 0x40)
			return c
		},
		"one value repeated": func(c [][]byte) [][]byte { c[value] = append([]byte{formList}, make([]byte, 20)...); return c },
		"ones not left out":  func(c [][]byte) [][]byte { c[value] = []byte{formSame, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}; return c },
		"string too long":    func(c [][]byte) [][]byte { c[entityLengths][0] += 100; return c },
		"string not UTF-8":   func(c [][]byte) [][]byte { c[entityTexts][0] = 0xff; return c },
		"cut in a character": func(c [][]byte) [][]byte { copy(c[entityTexts][14:], "é"); return c },
		"string repeated":    func(c [][]byte) [][]byte { copy(c[entityTexts][15:], c[entityTexts][:15]); return c },
		"string left over":   func(c [][]byte) [][]byte { c[entityTexts] = append(c[entityTexts], 'x'); return c },
		"string never used": func(c [][]byte) [][]byte {
			c[entityLengths] = append(c[entityLengths], 1)
			c[entityTexts] = append(c[entityTexts], 'x')
			return c
		},
		"index past the end":    func(c [][]byte) [][]byte { c[entityIndices][19] = 200; return c },
		"not in order of use":   func(c [][]byte) [][]byte { c[entityIndices][0] = 2; return c },
		"presence past the end": func(c [][]byte) [][]byte { c[trace][2] |= 0x80; return c },
		"fewer identities":      func(c [][]byte) [][]byte { c[trace] = c[trace][:len(c[trace])-1]; return c },
		"identity of zeros":     func(c [][]byte) [][]byte { clear(c[span][3:11]); return c },
		"presence of none":      func(c [][]byte) [][]byte { c[parent] = []byte{0, 0, 0}; return c },
		"65 attributes":         func(c [][]byte) [][]byte { c[attrCounts][1] = 65; return c },
		"attributes not sorted": func(c [][]byte) [][]byte {
			c[keyIndices][4], c[keyIndices][5] = c[keyIndices][5], c[keyIndices][4]
			return c
		},
		"raw longer than there":    func(c [][]byte) [][]byte { c[rawLengths][2]++; return c },
		"raw left over":            func(c [][]byte) [][]byte { c[raw] = append(c[raw], 1); return c },
		"a column more":            func(c [][]byte) [][]byte { return append(c, nil) },
		"a column less":            func(c [][]byte) [][]byte { return c[:len(c)-1] },
		"attribute value is bytes": func(c [][]byte) [][]byte { c[valueTexts][0] = 0xff; return c },
	} {
		t.Run(name, func(t *testing.T) {
			header, columns := parts(t, batchOf(Bulk, varied()))
			w := pack.NewWriter()
			for _, c := range bend(columns) {
				w.Bin(c)
			}
			if _, err := Decode(append(header, w.Bytes()...)); !errors.Is(err, ErrInvalid) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("number not in its shortest form", func(t *testing.T) {
		in := encoded(t, batchOf(Bulk, plain(3)))
		if _, err := Decode(append([]byte{0xcc}, in...)); !errors.Is(err, ErrInvalid) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("string for a column", func(t *testing.T) {
		in := encoded(t, batchOf(Bulk, plain(3)))
		at := bytes.LastIndex(in, []byte{0xc4, 0x00})
		if at < 0 {
			t.Fatal("no empty column")
		}
		in[at] = 0xd9
		if _, err := Decode(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another version", func(t *testing.T) {
		in := encoded(t, batchOf(Bulk, plain(3)))
		in[0] = Version + 1
		if _, err := DecodeHeader(in); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "version 3: this program reads 1 and 2") {
			t.Errorf("error %v", err)
		}
	})
}

func TestDecodedStringsOutliveTheInput(t *testing.T) {
	in := encoded(t, batchOf(Bulk, varied()))
	b, err := Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	clear(in)
	if !equal(b, batchOf(Bulk, varied())) {
		t.Error("changed with the bytes it was decoded from")
	}
}

func TestChainProvesOrderAndContent(t *testing.T) {
	one, two := []byte("one"), []byte("two")
	forward := Chain(Chain(Hash{}, one), two)
	if forward == Chain(Chain(Hash{}, two), one) || forward == Chain(Chain(Hash{}, one), []byte("twp")) {
		t.Error("another history has the same chain")
	}
}

func TestTimePlacesAnEvent(t *testing.T) {
	m := clock.Mapping{Offset: 1_000_000, Bound: 100, At: 500}
	e := Event{Stamp: Stamp{Lo: 400, Hi: 600, Point: 450}}
	iv, point := e.Time(m)
	if iv != (clock.Interval{Lo: 1_000_300, Hi: 1_000_700}) || point != 1_000_450 {
		t.Errorf("%v, %d", iv, point)
	}
	e.Flags = OpenStart
	if iv, point = e.Time(m); iv.Lo != math.MinInt64 || iv.Hi != 1_000_700 || point != 1_000_450 {
		t.Errorf("open start: %v, %d", iv, point)
	}
	if iv, point = e.Time(clock.Mapping{Offset: math.MaxInt64}); !iv.Contains(point) {
		t.Errorf("absurd mapping: %d outside %v", point, iv)
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range shapes() {
		if in := encoded(f, b); len(in) < 16<<10 {
			f.Add(in)
		}
	}
	var c Columns
	f.Fuzz(func(t *testing.T, in []byte) {
		_, headerErr := DecodeHeader(in)
		b, err := Decode(in)
		if reusedErr := c.Decode(in); (err == nil) != (reusedErr == nil) {
			t.Fatalf("%v from a new decoder, %v from a used one", err, reusedErr)
		}
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v wraps no ErrInvalid", err)
			}
			return
		}
		if headerErr != nil {
			t.Fatalf("batch without a header: %v", headerErr)
		}
		if !equal(b, c.Batch()) {
			t.Fatal("a used decoder reads something else")
		}
		if in[0] == packed {
			in = flattened(t, in)
		}
		if want := inVersion1(t, b); !bytes.Equal(in, want) {
			t.Fatalf("two encodings of one batch:\n%x\n%x", in, want)
		}
		out, err := b.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Decode(out); err != nil || !equal(b, again) {
			t.Fatalf("another batch after it was encoded: %+v, error %v", again, err)
		}
	})
}
