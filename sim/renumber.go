package sim

import (
	"fmt"

	"pando/internal/pack"
	"pando/transport"
	"pando/tree/wire"
)

// idOf reads the id that every request and answer begins with.
func idOf(m transport.Message) (uint64, error) {
	r := pack.NewReader(m.Body)
	id := r.Uint("id", 1<<63)
	return id, r.Err()
}

// renumber gives a request or an answer another id, and returns the old one.
func renumber(m transport.Message, id uint64) (_ transport.Message, old uint64, err error) {
	change := func(x wire.Message, field func() *uint64) error {
		if err := wire.Decode(m.Body, x); err != nil {
			return err
		}
		old, *field() = *field(), id
		m = wire.Encode(x)
		return nil
	}
	switch m.Kind {
	case wire.KindClaim:
		var x wire.Claim
		err = change(&x, func() *uint64 { return &x.ID })
	case wire.KindClaimAnswer:
		var x wire.ClaimAnswer
		err = change(&x, func() *uint64 { return &x.ID })
	case wire.KindDigest:
		var x wire.Digest
		err = change(&x, func() *uint64 { return &x.ID })
	case wire.KindDigestAnswer:
		var x wire.DigestAnswer
		err = change(&x, func() *uint64 { return &x.ID })
	case wire.KindAsk:
		var x wire.Ask
		err = change(&x, func() *uint64 { return &x.ID })
	case wire.KindFindings:
		var x wire.Findings
		err = change(&x, func() *uint64 { return &x.ID })
	case wire.KindDone:
		var x wire.Done
		err = change(&x, func() *uint64 { return &x.ID })
	default:
		err = fmt.Errorf("kind %d is no request", m.Kind)
	}
	return m, old, err
}
