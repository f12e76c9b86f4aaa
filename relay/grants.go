//go:build !zos

package relay

import (
	"errors"
	"fmt"

	"pando/tree/share"
	"pando/tree/wire"
	"pando/wal"
)

// granted takes the parent's word on how much bulk may be sent. It holds for
// this relay and those below it together.
func (u *upstream) granted(body []byte) error {
	var g wire.Grant
	if err := wire.Decode(body, &g); err != nil {
		return err
	}
	u.mu.Lock()
	u.pool = g.BytesPerS
	alone := len(u.below.relays) == 0
	u.mu.Unlock()
	if alone {
		return u.keepTo(g.BytesPerS)
	}
	return u.divide()
}

// divide shares the pool out, as the root does among its relays.
func (u *upstream) divide() error {
	u.mu.Lock()
	if u.pool == 0 || len(u.below.relays) == 0 {
		u.mu.Unlock()
		return nil
	}
	demands := []uint64{share.Demand(u.out.packed)}
	u.out.packed = 0
	for _, l := range u.below.relays {
		demands = append(demands, share.Demand(l.packed))
		l.packed = 0
	}
	shares := share.Divide(u.pool, demands)
	for i, l := range u.below.relays {
		if s := shares[i+1]; share.News(s, l.granted) {
			l.granted = s
			l.tell(wire.Encode(&wire.Grant{BytesPerS: s}))
		}
	}
	own, news := shares[0], share.News(shares[0], u.own)
	u.mu.Unlock()
	if !news {
		return nil
	}
	return u.keepTo(own)
}

// keepTo tells the core what it may send.
func (u *upstream) keepTo(bytesPerS uint64) error {
	u.mu.Lock()
	u.own, u.owes = bytesPerS, true
	u.mu.Unlock()
	if err := u.regrant(); !errors.Is(err, wal.ErrFull) {
		return err
	}
	return nil
}

// regrant tells the core what it may send, if it has not been told.
func (u *upstream) regrant() error {
	u.word.Lock()
	defer u.word.Unlock()
	u.mu.Lock()
	rate, due := u.own, u.owes
	u.mu.Unlock()
	if !due {
		return nil
	}
	if _, err := u.r.journal.Append(recGrant, encodeNumbers(rate), true); err != nil {
		return fmt.Errorf("%w: %w", errLog, err)
	}
	u.mu.Lock()
	u.owes = u.own != rate && u.owes
	u.mu.Unlock()
	return nil
}
