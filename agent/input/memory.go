package input

import (
	"strings"

	"pando/event"
)

// Small things are made in blocks, at a fraction of the cost of each by itself. A
// block lives as long as one of those in it, so it is small: an event that
// waits alone for the disk, of a lane that is not the one of its neighbours,
// holds this much of theirs at most.
const (
	textBlock = 1 << 10 // bytes
	attrBlock = 8
)

// texts makes strings. Not safe for concurrent use.
type texts struct{ block strings.Builder }

// of is the string of the bytes.
func (t *texts) of(b []byte) string {
	if len(b) > textBlock/4 {
		return string(b)
	}
	if t.block.Cap()-t.block.Len() < len(b) {
		t.block = strings.Builder{}
		t.block.Grow(textBlock)
	}
	at := t.block.Len()
	t.block.Write(b)
	return t.block.String()[at:]
}

// attrs makes attribute lists. Not safe for concurrent use.
type attrs struct{ block []event.Attr }

// of is a copy of the list.
func (a *attrs) of(list []event.Attr) []event.Attr {
	n := len(list)
	if len(a.block) < n {
		a.block = make([]event.Attr, max(n, attrBlock))
	}
	copy(a.block, list)
	made := a.block[:n:n]
	a.block = a.block[n:]
	return made
}
