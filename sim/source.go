package sim

import (
	"cmp"
	"slices"

	"pando/agent/input"
	"pando/event"
)

func sortByTime(at []int, lines []line) {
	slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(lines[a].at, lines[b].at) })
}

// Paces of reading.
const (
	pollDelay    = 20 * millisecond // most between a line and its being read
	idlePoll     = 100 * millisecond
	crowdedPause = 20 * millisecond
	readAtOnce   = 32         // lines that are handed over together
	backlogAfter = 2 * second // as agent/input has it
)

// source reads lines as agent/input does: a file from a position on, by polls,
// waiting while the agent takes nothing; a listener what comes while it is up.
type source struct {
	a      *agentNode
	plan   *sourcePlan
	next   int              // line to be read next
	resume [event.Lanes]int // of a file: lines below it are in the lane's log
	idle   int64            // mono at the last read that found nothing more
	known  bool             // idle is
	caught bool
	asOf   int64
	lost   []input.Item // of a listener: the last that found no room, while there is none
}

// position is where a file is read up to; offsets count lines.
func (s *source) position() event.Position {
	if !s.plan.file {
		return event.Position{Source: s.plan.name}
	}
	return event.Position{Source: s.plan.name + "#1:1.0", File: "1", Offset: int64(s.next), Replayable: true}
}

// start begins to read where the log says.
func (s *source) start(resume [event.Lanes][]event.Position) {
	if !s.plan.file {
		s.next, _ = slices.BinarySearchFunc(s.plan.lines, s.a.w.elapsed(), func(l int, now int64) int { return cmp.Compare(s.line(l).at, now) })
		s.listen()
		return
	}
	for l := range resume {
		for _, p := range resume[l] {
			if p.Source == s.position().Source {
				s.resume[l] = int(p.Offset)
			}
		}
	}
	s.next = min(s.resume[0], s.resume[1])
	s.poll()
}

func (s *source) line(i int) *line { return &s.a.w.plan.lines[i] }

// poll reads what a file holds by now.
func (s *source) poll() {
	a, now := s.a, s.a.w.elapsed()
	mono := a.clock.mono()
	var items []input.Item
	for len(items) < readAtOnce && s.next < len(s.plan.lines) && s.line(s.plan.lines[s.next]).at <= now {
		id := s.plan.lines[s.next]
		s.next++
		if it := s.item(id, mono); s.next > s.resume[it.Event.Lane()] {
			items = append(items, it)
		}
	}
	if len(items) > 0 && a.gather.Crowded(items) {
		s.next = s.indexOf(items[0])
		s.caught = false
		a.after(crowdedPause, s.poll)
		return
	}
	a.put(items)
	s.caught = s.next == len(s.plan.lines) || s.line(s.plan.lines[s.next]).at > now
	if s.caught {
		s.idle, s.known, s.asOf = mono, true, mono
	}
	s.again(now)
}

// indexOf is where in the file an item begins: one before its position.
func (s *source) indexOf(it input.Item) int { return int(it.Position.Offset) - 1 }

// again plans the next poll.
func (s *source) again(now int64) {
	d := idlePoll
	switch {
	case !s.caught:
		d = millisecond
	case s.next < len(s.plan.lines):
		d = min(d, s.line(s.plan.lines[s.next]).at-now+between(s.a.w.proc, 0, pollDelay))
	}
	if !s.a.w.inputOver || !s.caught {
		s.a.after(d, s.poll)
	}
}

// listen takes the next message of a network when it comes.
func (s *source) listen() {
	now := s.a.w.elapsed()
	s.unblock()
	for s.next < len(s.plan.lines) && s.line(s.plan.lines[s.next]).at <= now {
		it := s.item(s.plan.lines[s.next], s.a.clock.mono())
		s.next++
		if s.a.gather.Crowded([]input.Item{it}) {
			s.caught, s.lost = false, []input.Item{it}
			continue // the kernel drops it: it was never accepted
		}
		s.a.put([]input.Item{it})
	}
	if s.next < len(s.plan.lines) {
		s.a.after(s.line(s.plan.lines[s.next]).at-now, s.listen)
	}
}

// unblock takes note of when a listener reads all that comes: not while what it
// has in its hands finds no room.
func (s *source) unblock() {
	if s.lost != nil && s.a.gather.Crowded(s.lost) {
		return
	}
	s.caught, s.lost, s.asOf = true, nil, s.a.clock.mono()
}

// item makes an event of a line that is handed on now.
func (s *source) item(id int, mono int64) input.Item {
	l := s.line(id)
	e := event.Event{Kind: event.Log, Source: s.plan.name, Entity: l.entity, Signal: l.signal, Value: l.value,
		Severity: l.severity, Stamp: event.Stamp{Lo: s.idle, Hi: mono, Point: mono}}
	if !l.critical {
		e.Criticality = 2
	}
	switch {
	case !s.plan.file:
		e.Stamp.Lo = mono
	case !s.known:
		e.Stamp.Lo, e.Flags = mono, event.OpenStart|event.Backlog
	case mono-s.idle > backlogAfter:
		e.Flags = event.Backlog
	}
	return input.Item{Event: e, Position: s.position()}
}

// status is the source's word for heartbeats.
func (s *source) status() input.Status {
	if !s.plan.file {
		s.unblock()
	}
	st := input.Status{Source: s.plan.name, Readable: true, CaughtUp: s.caught, AsOf: s.asOf}
	if s.plan.file {
		st.Positions = []event.Position{s.position()}
	}
	return st
}
