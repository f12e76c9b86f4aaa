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
		"negative unsigned":       {"\xff", func(r *Reader) { r.Uint("n", math.MaxUint64) }, "negative"},
		"negative unsigned, long": {"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", func(r *Reader) { r.Uint("n", math.MaxUint64) }, "negative"},
		"unsigned above signed":   {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", func(r *Reader) { r.Int("n") }, "64 signed bits"},
		"float for an integer":    {"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", func(r *Reader) { r.Int("n") }, "integer belongs"},
		"nil array":               {"\xc0", func(r *Reader) { r.Array("rows", 10) }, "nil"},
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

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x93\x01\xa1x\xc4\x01y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		for n := r.Array("a", 64); n > 0; n-- {
			r.Uint("u", math.MaxUint64)
			r.Int("i")
			if s := r.Bin("b", 1<<20); len(s) > len(b) {
				t.Fatal("more bytes than the input has")
			}
		}
		_ = r.Done()
	})
}
