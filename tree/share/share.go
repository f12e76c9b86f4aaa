// Package share divides what there is of something among those who want it: a
// root the bytes that it can commit among its relays, a relay of a higher tier
// its part of them among those below it.
package share

import (
	"cmp"
	"slices"
	"time"
)

const (
	// Floor is what each may always send, in bytes a second, so that one that
	// was quiet can show that it has more to say.
	Floor = 64 << 10
	// Every is how often a pool is divided anew.
	Every = time.Second
)

// Demand is what one that sent so many bytes since the last look is thought to
// want: twice as much, or the floor.
func Demand(sent uint64) uint64 { return Floor + 2*sent }

// News reports whether a share differs from the one that was told by enough to
// be told.
func News(share, told uint64) bool { return max(share, told)-min(share, told) > told/8 }

// Divide shares a pool out by max-min fairness: who wants less than an equal
// share gets what it wants, and what that leaves goes to the others; what
// nobody wants is shared equally. (Bertsekas and Gallager, Data Networks, 2nd
// ed., section 6.5.2.)
func Divide(pool uint64, demands []uint64) []uint64 {
	shares := make([]uint64, len(demands))
	order := make([]int, len(demands))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(demands[a], demands[b]), cmp.Compare(a, b)) })
	left := pool
	for n, i := range order {
		shares[i] = min(demands[i], left/uint64(len(order)-n))
		left -= shares[i]
	}
	for i := range shares {
		shares[i] += left / uint64(len(shares))
	}
	return shares
}
