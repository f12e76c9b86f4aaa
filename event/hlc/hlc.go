// Package hlc implements hybrid logical clocks (Kulkarni, Demirbas et al.,
// "Logical Physical Clocks and Consistent Snapshots in Globally Distributed
// Databases", 2014): timestamps close to the wall clock that also respect
// causality, so that of two of Pando's own messages the one that could have
// caused the other has the smaller timestamp.
//
// A [Clock] never issues a timestamp twice, not even across a crash: it
// persists an upper bound before it issues anything up to it, and a restart
// continues from the bound at once. A timestamp is not evidence of UTC.
package hlc

import "fmt"

// logicalBits of a timestamp count events within one millisecond. Their
// overflow carries into the milliseconds, as any integer's does.
const logicalBits = 16

// MaxPhysical is the greatest physical part, in Unix milliseconds: the year
// 10889.
const MaxPhysical = 1<<(64-logicalBits) - 1

// Timestamp is 48 bits of physical milliseconds and 16 logical bits. Zero
// precedes every timestamp a [Clock] issues. Compare with < and >.
type Timestamp uint64

// Make returns the timestamp of these parts; a physical part outside 0 to
// [MaxPhysical] becomes the nearest end.
func Make(physical int64, logical uint16) Timestamp {
	return Timestamp(uint64(min(max(physical, 0), MaxPhysical))<<logicalBits | uint64(logical))
}

// Physical is the physical part in Unix milliseconds. It may be ahead of
// every clock by the carry of the logical part and by the margin of restarts.
func (t Timestamp) Physical() int64 { return int64(t >> logicalBits) }

// Logical is the counter within the millisecond.
func (t Timestamp) Logical() uint16 { return uint16(t) }

// String gives milliseconds and counter, as in 1700000000000.42.
func (t Timestamp) String() string { return fmt.Sprintf("%d.%d", t.Physical(), t.Logical()) }
