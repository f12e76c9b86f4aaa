package sim

import "pando/event"

// settled reports whether everything that agents hold is settled and recorded.
func (w *world) allSettled() bool {
	for _, a := range w.agents {
		if !a.machine.up || a.gather == nil || a.gather.Waiting() > 0 {
			return false
		}
		for l := range event.Lane(event.Lanes) {
			if out := a.hand.Outbox(l); out.Settled != out.Last {
				return false
			}
		}
	}
	return true
}
