package relay

import (
	"fmt"
	"slices"

	"pando/event"
	"pando/internal/pack"
)

// flights bound what is said to the root and has no answer, over all units: it
// waits in memory. What does not fit is not cut, and is in the log. The lanes
// have a bound each, so bulk takes no room from what is critical.
type flights struct {
	bytes  [event.Lanes]uint64       // bytes of sections
	taught uint64                    // bytes of expectations
	line   [event.Lanes][]event.Unit // that have a section to say and no room, longest first
}

// cut says the next section of a unit if there is one to say, or lines the unit
// up for it.
func (c *core) cut(u *unit) error {
	switch {
	case !c.up || u.inFlight >= maxInFlight:
		return nil
	case len(c.flights.line[u.id.Lane]) == 0 && c.room(u):
		return c.section(u)
	}
	c.lineUp(u)
	return nil
}

// room reports whether a section of the unit may be said, and what it taught
// before it.
func (c *core) room(u *unit) bool {
	if c.flights.bytes[u.id.Lane] >= maxFlying {
		return false
	}
	s := c.speaker(u)
	return c.flights.taught < maxTaught || c.engine.Learned(s.id) == s.learned
}

func (c *core) lineUp(u *unit) {
	if !u.linedUp && len(u.intake.Section(1)) > 0 {
		u.linedUp = true
		c.flights.line[u.id.Lane] = append(c.flights.line[u.id.Lane], u.id)
	}
}

// admit lets those who wait say their sections while there is room, in turn.
func (c *core) admit() error {
	for lane := range c.flights.line {
		list := c.flights.line[lane]
		if len(list) == 0 || c.flights.bytes[lane] >= maxFlying {
			continue
		}
		c.flights.line[lane] = nil
		for i, id := range list {
			if c.flights.bytes[lane] >= maxFlying {
				c.flights.line[lane] = append(c.flights.line[lane], list[i:]...)
				break
			}
			u := c.units[id]
			u.linedUp = false
			if !c.room(u) {
				c.lineUp(u)
				continue
			}
			if u.inFlight < maxInFlight {
				if err := c.section(u); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// takeOff takes note of a section that is said.
func (c *core) takeOff(u *unit, size int) {
	u.inFlight++
	u.sizes = append(u.sizes, size)
	c.flights.bytes[u.id.Lane] += uint64(size)
}

// land takes note of an answer to a section: the oldest one's, if there is one.
func (c *core) land(u *unit) {
	if u.inFlight == 0 {
		return
	}
	c.flights.bytes[u.id.Lane] -= uint64(u.sizes[0])
	u.sizes = u.sizes[1:]
	u.inFlight--
}

// dismiss takes a unit out of this.
func (c *core) dismiss(u *unit) {
	for u.inFlight > 0 {
		c.land(u)
	}
	if u.linedUp {
		u.linedUp = false
		line := &c.flights.line[u.id.Lane]
		*line = slices.DeleteFunc(slices.Clone(*line), func(id event.Unit) bool { return id == u.id })
	}
}

// clearFlights forgets what is under way: it is said again, or it went.
func (c *core) clearFlights() {
	c.flights = flights{}
	for _, u := range c.units {
		u.inFlight, u.sizes, u.linedUp = 0, nil, false
	}
}

func (c *core) appendFlights(w *pack.Writer) {
	w.Uint(c.flights.taught)
	for _, line := range c.flights.line {
		w.Array(len(line))
		for _, u := range line {
			w.String(u.Origin)
			w.Uint(uint64(u.WAL))
		}
	}
}

// readFlights reads it behind the units, of which the rest follows.
func (c *core) readFlights(r *pack.Reader) {
	c.flights.taught = r.Uint("taught", maxSeq)
	for _, u := range c.units {
		for _, n := range u.sizes {
			c.flights.bytes[u.id.Lane] += uint64(n)
		}
	}
	for lane := range event.Lane(event.Lanes) {
		for n := r.Array("line", maxUnits); n > 0 && r.Err() == nil; n-- {
			id := event.Unit{Origin: r.String("origin", maxText), WAL: event.WALID(r.Uint("WAL id", 1<<64-1)), Lane: lane}
			u := c.units[id]
			if r.Err() == nil && (u == nil || u.linedUp) {
				r.Fail("line", fmt.Errorf("unit %s is unknown, or stands twice", id))
				return
			}
			if r.Err() == nil {
				u.linedUp = true
				c.flights.line[lane] = append(c.flights.line[lane], id)
			}
		}
	}
}
