package placement

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// How a weight becomes an order, without floats.
//
// Let u be uniform in (0, 1) for each pair of key and node. Then −ln(u)/w is
// the first arrival of a Poisson clock of rate w, and the clock that rings
// first belongs to node i with probability w(i)/Σw. So the least −log(u)/w
// wins; the base of the logarithm scales all of them alike. A float logarithm
// differs between machines, hence −log2(u) is computed in fixed point by
// repeated squaring, and the quotients are compared by cross multiplication
// in 128 bits, which is exact.

// hash maps a key and a node to 64 uniform bits. SHA-256 is used because its
// bits are even for the short and similar names that nodes have, and because
// it is the same in every build; the length in front keeps ("ab", "c") apart
// from ("a", "bc").
func hash(key, node string) uint64 {
	buf := make([]byte, 0, 128) // names are short: this stays on the stack
	buf = binary.BigEndian.AppendUint64(buf, uint64(len(key)))
	buf = append(buf, key...)
	buf = append(buf, node...)
	sum := sha256.Sum256(buf)
	return binary.BigEndian.Uint64(sum[:8])
}

// fractionBits is the precision of negLog2. The least of n costs is near 1/n,
// so 32 bits tell apart the winners among far more relays than there are.
const fractionBits = 32

// negLog2 returns −log2(h/2^64) in units of 2^-fractionBits, rounded up: from
// 1 for the largest h to 64·2^fractionBits for 1; 0 counts as 1.
//
// The integer part of log2(h) is the position of its highest bit. The rest is
// found bit by bit: squaring a mantissa in [1, 2) doubles its logarithm, and
// the next binary digit is 1 exactly if the square has reached 2.
func negLog2(h uint64) uint64 {
	h = max(h, 1)
	zeros := bits.LeadingZeros64(h)
	log := uint64(63 - zeros)
	mantissa := h << zeros // in [1, 2) with 63 binary places
	for range fractionBits {
		hi, lo := bits.Mul64(mantissa, mantissa) // in [1, 4) with 126 binary places
		log <<= 1
		if hi>>63 == 1 {
			log |= 1
			mantissa = hi // the square, halved
		} else {
			mantissa = hi<<1 | lo>>63
		}
	}
	return 64<<fractionBits - log
}

// compareRatio compares a/v with b/w exactly.
func compareRatio(a uint64, v uint32, b uint64, w uint32) int {
	hi1, lo1 := bits.Mul64(a, uint64(w))
	hi2, lo2 := bits.Mul64(b, uint64(v))
	switch {
	case hi1 < hi2 || hi1 == hi2 && lo1 < lo2:
		return -1
	case hi1 == hi2 && lo1 == lo2:
		return 0
	}
	return 1
}
