// Package transport carries opaque messages between two nodes of the tree
// over a pair of mutually authenticated TLS 1.3 connections.
//
// One edge is one [Session] of two connections: the first carries control
// messages, heartbeats and the critical lane, the second the bulk lane, so
// that bulk can never stand in front of a critical message. A message is cut
// into frames of at most 16 KiB; between two frames anything more urgent goes
// first.
//
// What it gives:
//
//   - messages of one lane arrive whole, unchanged, once and in the order they
//     were sent, for as long as the session lives; control messages likewise;
//   - a receiver that does not read stalls only its own lane, by byte credits
//     that it grants back ([Session.Grant]), so memory is bounded on both sides;
//   - a peer that says nothing for [Options.Timeout] ends the session with
//     [ErrPeerSilent], and one dead connection ends both;
//   - the peer's name, role and region, taken from its certificate
//     ([Identity]) and never from what it says;
//   - every heartbeat is a four-timestamp exchange ([Sample]) from which the
//     dialing side estimates root time (F. Cristian, "Probabilistic clock
//     synchronization", 1989).
//
// What it does not give: anything across sessions. What was sent and not
// acknowledged by the caller's own protocol must be sent again on the next
// session. It knows neither events nor custody; [Message.Kind] and bodies
// belong to the caller.
package transport

import "strconv"

const (
	// MaxMessage is the longest message body in bytes. It bounds what one
	// reassembly may hold; a batch of events is far below it.
	MaxMessage = 4 << 20

	// MaxChunk is the longest piece of a message in one frame, so that an
	// urgent frame waits for at most one of them. A TLS record holds as much.
	MaxChunk = 16 << 10

	// MaxBody is the longest caller's body in HELLO and WELCOME.
	MaxBody = 64 << 10

	// Version is the newest version of the wire format this package speaks,
	// MinVersion the oldest.
	Version    = 1
	MinVersion = 1
)

// Lane separates what must arrive at once from what may wait. Each has its
// own connection, order and credits.
type Lane uint8

const (
	LaneCritical Lane = iota // shares the first connection with control
	LaneBulk                 // has the second connection to itself
)

// Lanes is the number of lanes.
const Lanes = 2

// channels adds the control channel, which has a window of its own, kept by
// the session itself.
const (
	control  Lane = Lanes
	channels      = Lanes + 1
)

func (l Lane) String() string {
	switch l {
	case LaneCritical:
		return "critical"
	case LaneBulk:
		return "bulk"
	case control:
		return "control"
	}
	return "lane(" + strconv.Itoa(int(l)) + ")"
}

// Message is what a session carries. Kind belongs to the caller. The body
// belongs to the session from Send on and must not change afterwards; a
// received body belongs to the receiver.
type Message struct {
	Kind uint8
	Body []byte
}

// messageOverhead is what a message costs beside its body: about the memory
// of holding an empty one. Without it a peer could queue empty messages for
// nothing.
const messageOverhead = 64

// Credit is an amount a sender may spend on a lane: bytes of message bodies
// and a fixed sum per message. It is a type of its own so that nobody grants
// back len(Body) and starves the lane slowly; grant back [Message.Cost].
type Credit int64

// Cost is what sending the message takes from its lane's credit, and what the
// receiver grants back once it has dealt with the message.
func (m Message) Cost() Credit { return Credit(len(m.Body)) + messageOverhead }

// Term names a session of a node: the node's persisted start counter, and a
// number it raises at each HELLO.
type Term struct{ Epoch, Session uint64 }

// Compare orders terms: negative if t is older than u.
func (t Term) Compare(u Term) int {
	switch {
	case t.Epoch < u.Epoch, t.Epoch == u.Epoch && t.Session < u.Session:
		return -1
	case t == u:
		return 0
	}
	return 1
}

func (t Term) String() string {
	return strconv.FormatUint(t.Epoch, 10) + "." + strconv.FormatUint(t.Session, 10)
}
