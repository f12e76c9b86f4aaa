package exact

import "math"

// Parts of the logarithm. ln2Hi has so few bits that its product with an
// exponent is exact; ln2Lo is the rest.
const (
	ln2Hi    = 6.93147180369123816490e-01
	ln2Lo    = 1.90821492927058770002e-10
	logTerms = 11 // of the series below: the next one is under 2^-53 of the sum
)

// Log returns the natural logarithm of x, the same bits on every machine,
// within two units in the last place. It is -Inf for zero and NaN for what
// has no logarithm, as in package math, whose Log differs between processors.
//
// With x = m·2^e and m from √½ to √2, log x = e·log 2 + 2·artanh((m-1)/(m+1)),
// by the power series of artanh (Abramowitz and Stegun 4.1.27). Each product
// is rounded by a conversion, so that no compiler fuses it with an addition.
func Log(x float64) float64 {
	switch {
	case math.IsNaN(x) || x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	case math.IsInf(x, 1):
		return x
	}
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = float64(m*2), e-1
	}
	s := (m - 1) / (m + 1)
	square := float64(s * s)
	sum := 0.0
	for k := 2*logTerms - 1; k >= 3; k -= 2 {
		sum = float64(square * (sum + 1/float64(k)))
	}
	// 2s + 2s·sum + e·ln2, least parts first.
	double := float64(2 * s)
	tail := float64(double*sum) + float64(float64(e)*ln2Lo)
	return float64(float64(e)*ln2Hi) + (double + tail)
}
