package transport

import (
	"io"
	"testing"
	"time"
)

// What the tests need to misbehave on the wire.

const (
	FrameHello  = frameHello
	FramePing   = framePing
	FrameData   = frameData
	Protocol    = protocol
	HeaderSize  = headerSize
	MaxPayload  = maxPayload
	MaxCredit   = maxCredit
	ControlSize = controlWindow
)

// AppendFrame appends a frame as a correct sender does.
func AppendFrame(dst []byte, typ frameType, more bool, payload []byte) []byte {
	return appendFrame(dst, typ, more, 0, nil, payload)
}

// ReadAll reads frames until the stream ends, and returns their payloads and
// the error that ended it.
func ReadAll(src io.Reader) ([][]byte, error) {
	reader := newFrameReader(src, "peer")
	var payloads [][]byte
	for {
		f, err := reader.next()
		if err != nil {
			return payloads, err
		}
		payloads = append(payloads, append([]byte(nil), f.payload...))
	}
}

// EncodeHello is the payload of a HELLO.
func EncodeHello(h Hello) []byte {
	if h.Versions == (Versions{}) {
		h.Versions = Versions{MinVersion, Version}
	}
	return greeting{Hello: h, heartbeat: maxHeartbeat}.encode()
}

// Greet says HELLO on a connection and returns the token of the WELCOME.
func Greet(rw io.ReadWriter, h Hello) ([]byte, error) {
	if _, err := rw.Write(AppendFrame(nil, frameHello, false, EncodeHello(h))); err != nil {
		return nil, err
	}
	f, err := newFrameReader(rw, "peer").next()
	if err != nil {
		return nil, err
	}
	if f.typ == frameRefuse {
		refusal, err := decodeRefusal(f.payload)
		if err != nil {
			return nil, err
		}
		return nil, refusal
	}
	p, err := decodeReply(f.payload)
	return p.token[:], err
}

// Attach attaches a connection by a term and a token.
func Attach(rw io.ReadWriter, term Term, token []byte) error {
	a := attachment{version: Version, term: term}
	copy(a.token[:], token)
	if _, err := rw.Write(AppendFrame(nil, frameAttach, false, a.encode())); err != nil {
		return err
	}
	f, err := newFrameReader(rw, "peer").next()
	if err != nil {
		return err
	}
	if f.typ == frameRefuse {
		refusal, err := decodeRefusal(f.payload)
		if err != nil {
			return err
		}
		return refusal
	}
	return nil
}

// Control is the control channel.
const Control = control

// Balance is the credit this side has left on a channel.
func (s *Session) Balance(lane Lane) Credit {
	a := s.accounts[lane]
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.balance
}

// WaitInbox waits until n messages wait to be received.
func (s *Session) WaitInbox(t testing.TB, lane Lane, n int) {
	in := s.inboxes[lane]
	for {
		in.mu.Lock()
		have := len(in.queue) - in.head
		in.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%d messages arrived, want %d", have, n)
		case <-time.After(time.Millisecond):
		}
	}
}

// WriteRaw writes bytes on a connection, past the session's writer.
func (s *Session) WriteRaw(lane Lane, raw []byte) error {
	_, err := s.links[lane].conn.Write(raw)
	return err
}

// Sever closes one of the connections under the session's feet.
func (s *Session) Sever(lane Lane) { s.links[lane].raw.Close() }
