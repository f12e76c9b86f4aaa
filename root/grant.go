//go:build !zos

package root

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"pando/transport"
	"pando/tree/wire"
)

const (
	// grantPool is what all relays together may send of bulk sections, in bytes
	// a second: what three roots on ordinary disks commit with half of their
	// time to spare for what is critical.
	grantPool = 8 << 20
	// grantFloor is what each relay may always send, so that one that was
	// quiet can show that it has more to say.
	grantFloor = 64 << 10
	// grantEvery is how often the pool is divided anew.
	grantEvery = time.Second
	// grantAgain is how often a grant is repeated that has not changed.
	grantAgain = 10 * time.Second
)

// grants divides the pool among the relays while this root leads.
func (r *Root) grants(ctx context.Context) {
	for pause(ctx, grantEvery) {
		if !r.leading.Load() {
			continue
		}
		list := r.relays()
		demands := make([]uint64, len(list))
		for i, c := range list {
			demands[i] = grantFloor + 2*c.digestBytes.Swap(0)
		}
		var told sync.WaitGroup
		for i, share := range divide(grantPool, demands) {
			told.Go(func() { list[i].grant(ctx, share) }) // one that is slow holds up nobody
		}
		told.Wait()
	}
}

// relays are the sessions of relays, by name.
func (r *Root) relays() []*child {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*child
	for c := range r.children {
		if c.peer.Role == transport.RoleRelay {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *child) int { return strings.Compare(a.peer.Node(), b.peer.Node()) })
	return list
}

// grant tells a relay its share, if that is news.
func (c *child) grant(ctx context.Context, share uint64) {
	old := c.granted
	if d := max(share, old) - min(share, old); d <= old/8 && time.Since(c.grantedAt) < grantAgain {
		return
	}
	c.granted, c.grantedAt = share, time.Now()
	ctx, cancel := context.WithTimeout(ctx, grantEvery)
	defer cancel()
	_ = c.s.SendControl(ctx, wire.Encode(&wire.Grant{BytesPerS: share})) // said again in a while
}

// divide shares a pool out by max-min fairness: who wants less than an equal
// share gets what it wants, and what that leaves goes to the others; what
// nobody wants is shared equally. (Bertsekas and Gallager, Data Networks, 2nd
// ed., section 6.5.2.)
func divide(pool uint64, demands []uint64) []uint64 {
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
