//go:build !zos

package root

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"pando/transport"
	"pando/tree/share"
	"pando/tree/wire"
)

const (
	// grantPool is what all relays together may send of bulk sections, in bytes
	// a second: what three roots on ordinary disks commit with half of their
	// time to spare for what is critical.
	grantPool = 8 << 20
	// grantAgain is how often a grant is repeated that has not changed.
	grantAgain = 10 * time.Second
)

// grants divides the pool among the relays while this root leads.
func (r *Root) grants(ctx context.Context) {
	for pause(ctx, share.Every) {
		if !r.leading.Load() {
			continue
		}
		list := r.relays()
		demands := make([]uint64, len(list))
		for i, c := range list {
			demands[i] = share.Demand(c.digestBytes.Swap(0))
		}
		var told sync.WaitGroup
		for i, s := range share.Divide(grantPool, demands) {
			told.Go(func() { list[i].grant(ctx, s) }) // one that is slow holds up nobody
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
func (c *child) grant(ctx context.Context, bytesPerS uint64) {
	if !share.News(bytesPerS, c.granted) && time.Since(c.grantedAt) < grantAgain {
		return
	}
	c.granted, c.grantedAt = bytesPerS, time.Now()
	ctx, cancel := context.WithTimeout(ctx, share.Every)
	defer cancel()
	_ = c.s.SendControl(ctx, wire.Encode(&wire.Grant{BytesPerS: bytesPerS})) // said again in a while
}
