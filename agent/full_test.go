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

// With the policy drop_newest a full log costs lines, but the source goes on,
// every line is either settled once or counted as lost, and a restart does
// not read again what was dropped.
func TestFullLogDropsAndSaysSo(t *testing.T) {
	r := newRig(t)
	r.opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	r.opts.MaxBytes = 3 * r.opts.SegmentBytes
	r.opts.WhenFull = [event.Lanes]Policy{DropNewest, DropNewest}
	r.led.lazy = true
	r.write(30000)
	disk := faulty.New()
	full := false
	r.live(disk, func() bool {
		if !full && r.readToEnd() && r.agent.Status().State == "full" {
			full = true
			r.write(100) // after the disk was full: lost, or not, but not forgotten
			r.led.diligent()
		}
		return full && r.led.accounted() == r.lines
	})
	if r.led.lost == 0 {
		t.Fatal("nothing was dropped although the log was full")
	}
	r.write(100)
	r.live(disk.Reboot(faulty.Fate{Keep: 100}), func() bool { return r.led.accounted() >= r.lines })
	if got := r.led.accounted(); got != r.lines {
		t.Errorf("%d lines are settled or lost, %d were written", got, r.lines)
	}
	for line, n := range r.led.lines {
		if n != 1 {
			t.Errorf("line %d is settled %d times", line, n)
		}
	}
	t.Logf("%d of %d lines lost", r.led.lost, r.lines)
}

// readToEnd reports whether the source has taken all that is in the file.
func (r *rig) readToEnd() bool {
	for _, s := range r.agent.Status().Sources {
		if s.Lines < uint64(r.lines) {
			return false
		}
	}
	return len(r.agent.Status().Sources) > 0
}
