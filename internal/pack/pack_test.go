package pack

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	w := NewWriter()
	w.Array(8)
	w.Uint(math.MaxUint64)
	w.Int(math.MinInt64)
	w.Int(-3)
	w.Bool(true)
	w.Float(math.Inf(-1))
	w.String("zürich")
	w.Bin([]byte{1, 2, 3})
	w.Bin(nil)
	r := NewReader(w.Bytes())
	if n := r.Array("all", 8); n != 8 {
		t.Fatalf("array length %d", n)
	}
	if v := r.Uint("u", math.MaxUint64); v != math.MaxUint64 {
		t.Errorf("uint %d", v)
	}
	if v := r.Int("i"); v != math.MinInt64 {
		t.Errorf("int %d", v)
	}
	if v := r.Int("i"); v != -3 {
		t.Errorf("int %d", v)
	}
	if !r.Bool("b") {
		t.Error("bool")
	}
	if v := r.Float("f"); !math.IsInf(v, -1) {
		t.Errorf("float %v", v)
	}
	if v := r.String("s", 10); v != "zürich" {
		t.Errorf("string %q", v)
	}
	if v := r.Bin("bin", 3); string(v) != "\x01\x02\x03" {
		t.Errorf("bin %v", v)
	}
	if v := r.Bin("bin", 0); len(v) != 0 {
		t.Errorf("bin %v", v)
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}

func TestReaderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		read func(r *Reader)
		want string
	}{
		"array above the cap":     {"\xdd\xff\xff\xff\xff", func(r *Reader) { r.Array("rows", 10) }, "above the limit"},
		"array above the input":   {"\xdd\x00\x00\xff\xff", func(r *Reader) { r.Array("rows", 1<<20) }, "bytes there"},
		"bytes above the cap":     {"\xc6\xff\xff\xff\xff", func(r *Reader) { r.Bin("raw", 16) }, "above the limit"},
		"bytes above the input":   {"\xc4\x10abc", func(r *Reader) { r.Bin("raw", 16) }, "3 there"},
		"negative unsigned":       {"\xff", func(r *Reader) { r.Uint("n", math.MaxUint64) }, "unsigned integer belongs"},
		"negative unsigned, long": {"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", func(r *Reader) { r.Uint("n", math.MaxUint64) }, "unsigned integer belongs"},
		"unsigned above signed":   {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", func(r *Reader) { r.Int("n") }, "64 signed bits"},
		"float for an integer":    {"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", func(r *Reader) { r.Int("n") }, "integer belongs"},
		"nil array":               {"\xc0", func(r *Reader) { r.Array("rows", 10) }, "an array belongs"},
		"string for bytes":        {"\xd9\x00", func(r *Reader) { r.Bin("raw", 16) }, "byte string belongs"},
		"bytes for a string":      {"\xc4\x00", func(r *Reader) { r.String("name", 16) }, "string belongs"},
		"integer for a float":     {"\x01", func(r *Reader) { r.Float("x") }, "float belongs"},
		"another NaN":             {"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x02", func(r *Reader) { r.Float("x") }, "NaN"},
		"long unsigned":           {"\xcd\x00\xff", func(r *Reader) { r.Uint("n", 1000) }, "shortest"},
		"signed form of unsigned": {"\xd0\x05", func(r *Reader) { r.Int("n") }, "shortest"},
		"signed form, same size":  {"\xd1\x01\x00", func(r *Reader) { r.Int("n") }, "shortest"},
		"long negative":           {"\xd0\xff", func(r *Reader) { r.Int("n") }, "shortest"},
		"long bytes":              {"\xc5\x00\x01a", func(r *Reader) { r.Bin("raw", 16) }, "shortest"},
		"long string":             {"\xd9\x01a", func(r *Reader) { r.String("name", 16) }, "shortest"},
		"long array":              {"\xdc\x00\x01\x01", func(r *Reader) { r.Array("rows", 10) }, "shortest"},
		"left over":               {"\x01\x02", func(r *Reader) { r.Uint("n", 9) }, "left over"},
		"empty":                   {"", func(r *Reader) { r.Uint("n", 9) }, "n at byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader([]byte(c.in))
			c.read(r)
			err := r.Done()
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// Whatever bytes the reader takes, the writer makes the same of what was read.
func FuzzReader(f *testing.F) {
	w := NewWriter()
	for _, n := range []int64{0, 1, 127, 128, 255, 256, 1 << 16, 1 << 32, math.MaxInt64} {
		w.Reset()
		w.Array(1)
		w.Uint(uint64(n))
		w.Int(n)
		w.Int(-n)
		w.Bool(n%2 == 0)
		w.Float(float64(n))
		text := strings.Repeat("z", int(min(n, 1<<16)))
		w.String(text)
		w.Bin([]byte(text))
		f.Add(w.Copy())
	}
	f.Add([]byte("\x91\x01\xd1\x01\x00\x01\xc3\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xa1x\xd9\x01y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, w := NewReader(b), NewWriter()
		n := r.Array("a", 64)
		w.Array(n)
		for ; n > 0 && r.Err() == nil; n-- {
			w.Uint(r.Uint("u", math.MaxUint64))
			w.Int(r.Int("i"))
			w.Int(r.Int("j"))
			w.Bool(r.Bool("b"))
			w.Float(r.Float("f"))
			w.String(r.String("s", 1<<20))
			w.Bin(r.Bin("x", 1<<20))
		}
		if r.Done() == nil && string(w.Bytes()) != string(b) {
			t.Fatalf("two forms of one value:\n%x\n%x", b, w.Bytes())
		}
	})
}
