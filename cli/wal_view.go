package cli

import (
	"encoding/hex"
	"fmt"

	"pando/wal"
)

// logView is a log's report as it is printed; its tags are the interface that
// scripts see.
type logView struct {
	Dir         string           `json:"dir"`
	ID          string           `json:"id"`
	First       wal.Seq          `json:"first"`
	Last        wal.Seq          `json:"last"` // first−1 if there is no record
	Bytes       int64            `json:"bytes"`
	Segments    []segmentView    `json:"segments"`
	Checkpoints []checkpointView `json:"checkpoints"`
	Torn        []tornView       `json:"torn"`
	Damage      *damageView      `json:"damage"`
	Broken      []string         `json:"broken"`
	Unfinished  []string         `json:"unfinished"`
	MovedTo     string           `json:"moved_to,omitempty"`
}

type segmentView struct {
	Name   string  `json:"name"`
	First  wal.Seq `json:"first"`
	Last   wal.Seq `json:"last"`
	Bytes  int64   `json:"bytes"`
	Sealed bool    `json:"sealed"`
	SHA256 string  `json:"sha256,omitempty"`
}

type checkpointView struct {
	Name   string  `json:"name"`
	Seq    wal.Seq `json:"seq"`
	Format uint32  `json:"format"`
	Logic  uint32  `json:"logic"`
	Bytes  int64   `json:"bytes"`
	Error  string  `json:"error,omitempty"`
}

type tornView struct {
	Segment string `json:"segment"`
	Offset  int64  `json:"offset"`
	Bytes   int64  `json:"bytes"`
}

type damageView struct {
	Segment string `json:"segment"`
	Offset  int64  `json:"offset"`
	Reason  string `json:"reason"`
}

// viewLog copies lists even if they are empty, so that JSON has [] and never
// null where a script wants to count.
func viewLog(r wal.Report) logView {
	v := logView{
		Dir: r.Dir, ID: fmt.Sprintf("%016x", r.ID), First: r.First, Last: r.Last, Bytes: r.Bytes,
		Segments:    make([]segmentView, 0, len(r.Segments)),
		Checkpoints: make([]checkpointView, 0, len(r.Checkpoints)),
		Torn:        make([]tornView, 0, len(r.Torn)),
		Broken:      append([]string{}, r.Broken...),
		Unfinished:  append([]string{}, r.Unfinished...),
		MovedTo:     r.MovedTo,
	}
	for _, s := range r.Segments {
		seg := segmentView{Name: s.Name, First: s.First, Last: s.Last, Bytes: s.Bytes, Sealed: s.Sealed}
		if s.Sealed {
			seg.SHA256 = hex.EncodeToString(s.SHA256[:])
		}
		v.Segments = append(v.Segments, seg)
	}
	for _, c := range r.Checkpoints {
		cp := checkpointView{Name: c.Name, Seq: c.Seq, Format: c.Format, Logic: c.Logic, Bytes: c.StateBytes}
		if c.Err != nil {
			cp.Error = c.Err.Error()
		}
		v.Checkpoints = append(v.Checkpoints, cp)
	}
	for _, t := range r.Torn {
		v.Torn = append(v.Torn, tornView(t))
	}
	if d := r.Damage; d != nil {
		v.Damage = &damageView{Segment: d.Segment, Offset: d.Offset, Reason: d.Reason}
	}
	return v
}

// table is one file a row; what is wrong stands in its last column.
func (v logView) table() table {
	t := table{columns: []string{"file", "kind", "first", "last", "bytes", "state"}}
	t.add(v.Dir, "log "+v.ID, v.First, v.Last, v.Bytes, v.state())
	for _, s := range v.Segments {
		state := "open"
		if s.Sealed {
			state = "sealed " + s.SHA256[:12]
		}
		for _, torn := range v.Torn {
			if torn.Segment == s.Name {
				state = fmt.Sprintf("torn: %d bytes at %d, never acknowledged", torn.Bytes, torn.Offset)
			}
		}
		if d := v.Damage; d != nil && d.Segment == s.Name {
			state = fmt.Sprintf("damaged at %d: %s", d.Offset, d.Reason)
		}
		t.add(s.Name, "segment", s.First, s.Last, s.Bytes, state)
	}
	for _, c := range v.Checkpoints {
		state := fmt.Sprintf("format %d, logic %d", c.Format, c.Logic)
		if c.Error != "" {
			state = c.Error
		}
		t.add(c.Name, "checkpoint", "", c.Seq, c.Bytes, state)
	}
	for _, name := range v.Broken {
		t.add(name, "broken copy", "", "", "", "kept by a recovery")
	}
	for _, name := range v.Unfinished {
		t.add(name, "unfinished", "", "", "", "removed at the next start")
	}
	if v.MovedTo != "" {
		t.add(v.MovedTo, "moved aside", "", "", "", "the damaged log; it can still be inspected")
	}
	return t
}

func (v logView) state() string {
	switch {
	case v.Damage != nil:
		return "damaged"
	case v.MovedTo != "":
		return "moved aside"
	case len(v.Torn) > 0:
		return "torn tail"
	}
	return "intact"
}
