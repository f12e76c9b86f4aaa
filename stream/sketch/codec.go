package sketch

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"pando/internal/pack"
)

// Append writes the sketch: the strange values, the number of finite ones; of
// one the value, of two both; of more the least, the greatest, the level, and the
// buckets in rising order as difference to the one before and count, where
// zero's has number 0, and key k of a positive value k+1, of a negative one
// -(k+1). Equal multisets of values have equal bytes.
func (s *Sketch) Append(w *pack.Writer) {
	w.Uint(s.strange.NaN)
	w.Uint(s.strange.NegInf)
	w.Uint(s.strange.PosInf)
	w.Uint(s.count)
	if s.count >= 1 {
		w.Float(s.min)
	}
	if s.count >= 2 {
		w.Float(s.max)
	}
	if s.count <= 2 {
		return
	}
	w.Uint(uint64(s.level))
	n := s.Buckets()
	if s.zeros > 0 {
		n++
	}
	w.Array(n)
	last := int64(0)
	bucket := func(number int64, n uint64) {
		w.Int(number - last)
		w.Uint(n)
		last = number
	}
	for key, n := range s.neg.falling {
		bucket(-int64(key)-1, n)
	}
	if s.zeros > 0 {
		bucket(0, s.zeros)
	}
	for key, n := range s.pos.rising {
		bucket(int64(key)+1, n)
	}
}

// Read reads what [Sketch.Append] wrote, and checks what can be checked of it.
// Errors stay in r, and leave an empty sketch.
func Read(r *pack.Reader) Sketch {
	var s Sketch
	s.strange = Strange{
		NaN: r.Uint("NaNs", maxCount), NegInf: r.Uint("negative infinities", maxCount), PosInf: r.Uint("infinities", maxCount),
	}
	count := r.Uint("values", maxCount)
	least, greatest := 0.0, 0.0
	if count >= 1 {
		least = readFinite(r, "least value")
		greatest = least
	}
	if count >= 2 {
		greatest = readFinite(r, "greatest value")
	}
	if r.Err() == nil && least > greatest {
		r.Fail("least value", fmt.Errorf("%v is above the greatest, %v", least, greatest))
	}
	switch {
	case r.Err() != nil:
		return Sketch{}
	case count <= 2:
		if count >= 1 {
			s.AddN(least, 1)
		}
		if count == 2 {
			s.AddN(greatest, 1)
		}
		return s
	}
	s.count, s.min, s.max = count, least, greatest
	s.level = uint8(r.Uint("level", lastLevel))
	if s.readBuckets(r); r.Err() != nil {
		return Sketch{}
	}
	return s
}

func readFinite(r *pack.Reader, field string) float64 {
	v := r.Float(field)
	if r.Err() == nil && (v != v || math.IsInf(v, 0) || v == 0 && math.Signbit(v)) {
		r.Fail(field, fmt.Errorf("%v is no finite value, or the negative zero", v))
	}
	return v
}

// readBuckets reads the buckets and checks them against everything before.
func (s *Sketch) readBuckets(r *pack.Reader) {
	most := int64(math.Float64bits(math.MaxFloat64)>>s.shift()) + 1
	n := r.Array("buckets", MaxBuckets+1)
	number, first, total := int64(0), int64(0), uint64(0)
	for i := range n {
		d := r.Int("bucket")
		c := r.Uint("count", maxCount)
		if r.Err() != nil {
			return
		}
		if c == 0 || i > 0 && d <= 0 || d < -most || d > 2*most || number+d > most {
			r.Fail("bucket", fmt.Errorf("%d after %d, counting %d: not in order, out of range, or empty", d, number, c))
			return
		}
		number += d
		if i == 0 {
			first = number
		}
		total = plus(total, c)
		switch {
		case number == 0:
			s.zeros = c
		case number > 0:
			if s.pos.used == 0 {
				s.pos.keys, s.pos.counts = make([]int32, 0, n-i), make([]uint64, 0, n-i)
			}
			s.pos.append(int32(number-1), c)
		default:
			s.neg.append(int32(-number-1), c)
		}
	}
	slices.Reverse(s.neg.keys) // they came falling
	slices.Reverse(s.neg.counts)
	s.neg.settle()
	s.pos.settle()
	switch {
	case total != s.count:
		r.Fail("buckets", fmt.Errorf("they count %d values of %d", total, s.count))
	case first != s.number(s.min) || number != s.number(s.max):
		r.Fail("buckets", errors.New("the least or the greatest value lies in another bucket"))
	case s.Buckets() > MaxBuckets || s.level > 0 && s.Buckets() <= MaxBuckets/2:
		r.Fail("buckets", fmt.Errorf("%d of them at level %d", s.Buckets(), s.level))
	}
}

// number is the bucket of a finite value as it is written.
func (s *Sketch) number(v float64) int64 {
	b := math.Float64bits(v)
	key := int64(b&^signBit>>s.shift()) + 1
	switch {
	case b == 0:
		return 0
	case b&signBit != 0:
		return -key
	}
	return key
}
