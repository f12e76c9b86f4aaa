package agent

import (
	"pando/event"
	"pando/event/clock"
	"pando/internal/pack"
	"pando/tree/wire"
)

// Bodies of the agent's records that are not messages as they came.

func settledBody(l event.Lane, seq uint64) []byte {
	w := pack.NewWriter()
	w.Uint(uint64(l))
	w.Uint(seq)
	return w.Bytes()
}

func clockBody(m clock.Mapping) []byte {
	w := pack.NewWriter()
	wire.AppendMapping(w, m)
	return w.Bytes()
}

func retireBody(l event.Lane, names []string) []byte {
	w := pack.NewWriter()
	w.Uint(uint64(l))
	w.Array(len(names))
	for _, n := range names {
		w.String(n)
	}
	return w.Bytes()
}

func estateBody(e wire.Estate) []byte {
	w := pack.NewWriter()
	wire.AppendEstate(w, e)
	return w.Bytes()
}
