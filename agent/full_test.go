package agent

import (
	"log/slog"
	"testing"

	"pando/event"
	"pando/internal/durable/faulty"
)

// A log that got full while the root was away takes events again once the
// root is back: what is settled can be recorded and trimmed although no event
// has room, and stopping meanwhile ends.
func TestFullLogTakesEventsAgain(t *testing.T) {
	r := newRig(t)
	r.opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	r.opts.MaxBytes = 3 * r.opts.SegmentBytes
	r.led.lazy = true
	r.write(12000)
	disk := faulty.New()
	full := false
	r.live(disk, func() bool {
		if !full && r.agent.Status().State == "full" {
			full = true
			r.led.diligent()
		}
		return full && r.led.settledLines() == r.lines
	})
	r.exact()
	if len(r.led.units) != event.Lanes {
		t.Error("the agent took its own log for a clone's and opened another")
	}
}
