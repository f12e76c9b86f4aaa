package relay

import (
	"pando/event/clock"
	"pando/internal/pack"
	"pando/tree/wire"
)

// Reckoning is root time as a relay knows it before it hears of it again: what
// its log says last, and what has passed since. Its own wall clock may be
// minutes ahead, and detectors never go back: they would find nothing until
// time has caught up. The zero value knows nothing.
type Reckoning struct{ last, offset int64 }

// Reckon goes on from the core's log, at a reading of the monotonic clock: by
// its estimate of root time if that is of the same boot, else from the last root
// time that it had.
func Reckon(c Core, boot clock.Boot, mono int64) Reckoning {
	r := Reckoning{c.now, c.now - mono}
	if c.clock.Boot == boot {
		r.offset = max(r.offset, c.clock.Offset)
	}
	return r
}

// Now is root time at a reading of the monotonic clock, or behind it by as long
// as the machine was down; false if the log tells none.
func (r Reckoning) Now(mono int64) (int64, bool) { return mono + r.offset, r.last != 0 }

// ClockRecord keeps an estimate of root time for a relay that restarts while the
// root cannot be reached.
func ClockRecord(m clock.Mapping) Record {
	w := pack.NewWriter()
	wire.AppendMapping(w, m)
	return Record{Kind: recClock, Body: w.Bytes()}
}

func (c *core) keepClock(body []byte) error {
	r := pack.NewReader(body)
	m := wire.ReadMapping(r)
	if err := r.Done(); err != nil {
		return err
	}
	c.clock = m
	return nil
}
