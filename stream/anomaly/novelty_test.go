package anomaly

import (
	"fmt"
	"testing"
	"time"

	"pando/event"
)

func TestFirstSeen(t *testing.T) {
	s := newStage(quick())
	s.speaks(lpara, "console", job, "DFHSI1517", event.SeverityInfo, 300*time.Millisecond)
	s.join(lpara, "A")
	s.claim(lpara)
	s.say(lpara, "console", job, "abend.S222", event.SeverityError, 0)
	s.pass(6 * time.Second)
	s.hears(t) // learning
	s.say(lpara, "console", job, "abend.S222", event.SeverityError, 0)
	s.say(lpara, "console", job, "IEF404I", event.SeverityInfo, 0)
	s.say(lpara, "console", job, "abend.S013", event.SeverityError, event.Backlog)
	s.hears(t) // known; below the severity; read from a backlog
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	s.hears(t, "+first-seen "+job)
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	s.hears(t)

	s.leave(lpara)
	s.join(lpara, "A")
	s.say(lpara, "console", job, "abend.S878", event.SeverityError, 0)
	s.hears(t) // no claim yet: another relay may have seen it
	s.claim(lpara)
	s.pass(200 * time.Millisecond)
	s.hears(t, "+first-seen "+job) // the root has not: it was new
	s.leave(lpara)
	s.host(lpara).wal = 2 // and its disk is lost on the way
	s.join(lpara, "B")
	s.say(lpara, "console", job, "abend.U4038", event.SeverityError, 0)
	s.claim(lpara)
	for _, code := range []string{"abend.S222", "abend.S0C7", "abend.S013", "abend.U4038"} {
		s.say(lpara, "console", job, code, event.SeverityError, 0)
	}
	s.hears(t) // known from A, or learnt before the claim
	s.say(lpara, "console", job, "DFHAC2236", event.SeverityWarn, 0)
	s.hears(t, "+first-seen "+job)
}

func TestFullMemoryMakesNothingNew(t *testing.T) {
	cfg := quick()
	cfg.MaxSeries = 3
	s := newStage(cfg)
	s.join(lpara, "A")
	s.claim(lpara)
	s.say(lpara, "console", job, "abend.S000", event.SeverityError, 0)
	s.pass(6 * time.Second)
	for i := range 10 {
		s.say(lpara, "console", job, fmt.Sprintf("abend.S00%d", i), event.SeverityError, 0)
	}
	s.hears(t, "+first-seen "+job, "+first-seen "+job)
	if z := s.relay("A").Size(); z.Codes != 3 || z.Refused.Codes != 7 {
		t.Errorf("size %+v, want 3 codes and 7 refused", z)
	}

	s = newStage(quick())
	s.root[lpara] = Expectations{Since: dawn - 60*second, Floor: event.SeverityWarn, Partial: true}
	s.join(lpara, "A")
	s.claim(lpara)
	s.say(lpara, "console", job, "abend.S0C7", event.SeverityError, 0)
	s.hears(t) // another relay's memory was full
}
