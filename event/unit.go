package event

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Lane separates what must arrive at once from what may wait.
type Lane uint8

const (
	Critical Lane = iota // criticality 0
	Bulk                 // criticality 1 to 3
)

// Lanes is the number of lanes.
const Lanes = 2

func (l Lane) String() string {
	switch l {
	case Critical:
		return "critical"
	case Bulk:
		return "bulk"
	}
	return "lane(" + strconv.Itoa(int(l)) + ")"
}

// WALID names one write-ahead log for its whole life: 64 random bits written
// when the log is created. Zero names none.
type WALID uint64

func (id WALID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Unit is what custody is handed over in: the events of one lane of one WAL
// of one origin. Its sequence numbers start at 1 and rise by one.
type Unit struct {
	Origin string // the agent's node name, region/name
	WAL    WALID
	Lane   Lane
}

func (u Unit) String() string { return u.Origin + "@" + u.WAL.String() + "/" + u.Lane.String() }

// Compare orders units by origin, WAL id and lane.
func (u Unit) Compare(v Unit) int {
	return cmp.Or(strings.Compare(u.Origin, v.Origin), cmp.Compare(u.WAL, v.WAL), cmp.Compare(u.Lane, v.Lane))
}
