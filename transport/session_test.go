package transport_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pando/transport"
)

func TestMessagesArriveWholeAndInOrder(t *testing.T) {
	e := newEdge(t, nil)
	child, parent := e.open(transport.Hello{})
	sizes := []int{0, 1, transport.MaxChunk - 1, transport.MaxChunk, transport.MaxChunk + 1, 3*transport.MaxChunk + 5, 100}
	type way struct {
		name     string
		from, to *transport.Session
	}
	for _, w := range []way{{"up", child, parent}, {"down", parent, child}} {
		send := map[string]func(transport.Message) error{
			"critical": func(m transport.Message) error { return w.from.Send(within(t), transport.LaneCritical, m) },
			"bulk":     func(m transport.Message) error { return w.from.Send(within(t), transport.LaneBulk, m) },
			"control":  func(m transport.Message) error { return w.from.SendControl(within(t), m) },
		}
		receive := map[string]func() (transport.Message, error){
			"critical": func() (transport.Message, error) { return w.to.Receive(within(t), transport.LaneCritical) },
			"bulk":     func() (transport.Message, error) { return w.to.Receive(within(t), transport.LaneBulk) },
			"control":  func() (transport.Message, error) { return w.to.ReceiveControl(within(t)) },
		}
		for i, size := range sizes {
			for channel := range send { // the channels' messages are under way together
				if err := send[channel](message(i, size)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for channel := range receive {
			for i, size := range sizes {
				got, err := receive[channel]()
				if err != nil {
					t.Fatal(err)
				}
				if want := message(i, size); got.Kind != want.Kind || !bytes.Equal(got.Body, want.Body) {
					t.Fatalf("%s, %s: message %d of %d bytes came as kind %d with %d bytes", w.name, channel, i, size, got.Kind, len(got.Body))
				}
			}
		}
	}
}

// fill sends on a channel until its credit is spent, checks that one message
// more has to wait, and returns how many passed.
func fill(t *testing.T, s *transport.Session, channel transport.Lane, size int) (sent int) {
	t.Helper()
	send := func(ctx context.Context) error { return s.Send(ctx, channel, message(sent, size)) }
	if channel == transport.Control {
		send = func(ctx context.Context) error { return s.SendControl(ctx, message(sent, size)) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		for ; s.Balance(channel) > 0; sent++ {
			if err := send(within(t)); err != nil {
				t.Fatal(err)
			}
		}
		switch err := send(ctx); {
		case err == nil: // credit for what was received before came just now
			sent++
			continue
		case !errors.Is(err, context.Canceled):
			t.Errorf("%s message without credit: %v", channel, err)
		}
		return sent
	}
}

func TestLaneWithoutCreditBlocksOnlyItself(t *testing.T) {
	const size = 1 << 20
	e := newEdge(t, func(listen, _ *transport.Options) { listen.Credit[transport.LaneBulk] = 2 << 20 })
	child, parent := e.open(transport.Hello{})
	if sent := fill(t, child, transport.LaneBulk, size); sent != 2 {
		t.Errorf("%d bulk messages of 1 MiB passed a credit of 2 MiB", sent)
	}
	for i := range 100 { // nobody receives bulk
		if err := child.Send(within(t), transport.LaneCritical, message(i, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := child.SendControl(within(t), message(i, 10)); err != nil {
			t.Fatal(err)
		}
		if m, err := parent.Receive(within(t), transport.LaneCritical); err != nil || m.Kind != uint8(i) {
			t.Fatalf("critical message %d: %v", i, err)
		}
		if _, err := parent.ReceiveControl(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	first, err := parent.Receive(within(t), transport.LaneBulk)
	if err != nil {
		t.Fatal(err)
	}
	parent.Grant(transport.LaneBulk, first.Cost())
	if err := child.Send(within(t), transport.LaneBulk, message(2, size)); err != nil {
		t.Errorf("after a grant: %v", err)
	}
	for want := 1; want <= 2; want++ {
		if m, err := parent.Receive(within(t), transport.LaneBulk); err != nil || !bytes.Equal(m.Body, message(want, size).Body) {
			t.Errorf("bulk message %d: kind %d, %v", want, m.Kind, err)
		}
	}
}

func TestControlNeedsNoGrantButIsBounded(t *testing.T) {
	e := newEdge(t, nil)
	child, parent := e.open(transport.Hello{})
	const size = 64 << 10
	total := int(4 * transport.ControlSize / size)
	sent := make(chan error, 1)
	go func() {
		for i := range total {
			if err := child.SendControl(within(t), message(i, size)); err != nil {
				sent <- fmt.Errorf("message %d: %w", i, err)
				return
			}
		}
		sent <- nil
	}()
	for i := range total {
		if m, err := parent.ReceiveControl(within(t)); err != nil || m.Kind != uint8(i) {
			t.Fatalf("control message %d: kind %d, %v", i, m.Kind, err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	// Nobody receives any more.
	if most := int(transport.ControlSize/size) + 1; fill(t, child, transport.Control, size) > most {
		t.Errorf("more than %d control messages are under way", most)
	}
}

func TestMessageLargerThanTheWindowPasses(t *testing.T) {
	e := newEdge(t, func(listen, _ *transport.Options) { listen.Credit[transport.LaneBulk] = 1 })
	child, parent := e.open(transport.Hello{})
	want := message(1, transport.MaxMessage)
	if err := child.Send(within(t), transport.LaneBulk, want); err != nil {
		t.Fatal(err)
	}
	if m, err := parent.Receive(within(t), transport.LaneBulk); err != nil || !bytes.Equal(m.Body, want.Body) {
		t.Errorf("%d bytes, %v", len(m.Body), err)
	}
	err := child.Send(within(t), transport.LaneBulk, transport.Message{Body: make([]byte, transport.MaxMessage+1)})
	if !errors.Is(err, transport.ErrMessageTooLarge) || child.Err() != nil {
		t.Errorf("message above the limit: %v; session %v", err, child.Err())
	}
}

func TestCloseTellsThePeerAndKeepsWhatArrived(t *testing.T) {
	e := newEdge(t, nil)
	child, parent := e.open(transport.Hello{})
	if err := child.SendControl(within(t), message(1, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := parent.ReceiveControl(within(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := parent.Send(within(t), transport.LaneCritical, message(i, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := child.Receive(within(t), transport.LaneCritical); err != nil {
		t.Fatal(err)
	}
	child.WaitInbox(t, transport.LaneCritical, 2)
	parent.Close("relay stops")
	var closed *transport.CloseError
	if err := ended(t, child); !errors.As(err, &closed) || !closed.Remote || closed.Reason != "relay stops" {
		t.Errorf("the peer sees %v", err)
	}
	if err := ended(t, parent); !errors.As(err, &closed) || closed.Remote {
		t.Errorf("the closer sees %v", err)
	}
	for i := 1; i < 3; i++ {
		if m, err := child.Receive(within(t), transport.LaneCritical); err != nil || m.Kind != uint8(i) {
			t.Errorf("message %d, arrived before the end: %v", i, err)
		}
	}
	if _, err := child.Receive(within(t), transport.LaneCritical); !errors.As(err, &closed) {
		t.Errorf("receive after the end: %v", err)
	}
	if err := child.Send(within(t), transport.LaneBulk, message(0, 1)); !errors.As(err, &closed) {
		t.Errorf("send after the end: %v", err)
	}
}

// frame is what a correct sender would write for a whole message.
func dataFrame(kind uint8, body string) []byte {
	payload := append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
	return transport.AppendFrame(nil, transport.FrameData, false, payload)
}

func TestBrokenBytesEndTheSession(t *testing.T) {
	flipped := dataFrame(1, "hello")
	flipped[len(flipped)-1] ^= 1
	huge := binary.BigEndian.AppendUint32(nil, 0xffff_ffff)
	huge = append(huge, make([]byte, transport.HeaderSize)...)
	announce := func(total uint32, more bool) []byte {
		return transport.AppendFrame(nil, transport.FrameData, more, binary.BigEndian.AppendUint32([]byte{1}, total))
	}
	for name, c := range map[string]struct {
		raw  []byte
		code transport.Code
		says string
	}{
		"bad checksum":          {flipped, transport.CodeChecksum, "crc"},
		"4 GiB frame":           {huge, transport.CodeOversize, fmt.Sprintf("frame of 4294967295 bytes from eu/a1, limit %d", transport.MaxPayload)},
		"4 GiB message":         {announce(0xffff_ffff, true), transport.CodeOversize, "message of 4294967295 bytes from eu/a1, limit 4194304"},
		"short message":         {announce(100, false), transport.CodeMalformed, "chunk of 0 after 0"},
		"empty chunks for ever": {announce(100, true), transport.CodeMalformed, "more true"},
		"PONG from a child":     {transport.AppendFrame(nil, transport.FramePing+1, false, nil), transport.CodeMalformed, "PONG"},
		"HELLO in a session":    {transport.AppendFrame(nil, transport.FrameHello, false, nil), transport.CodeMalformed, "HELLO"},
		"unknown frame":         {transport.AppendFrame(nil, 99, false, nil), transport.CodeMalformed, "frame 99"},
		"more than the credit":  {bytes.Repeat(announceBody(64<<10), 200), transport.CodeCredit, "without credit"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, nil)
			child, parent := e.open(transport.Hello{})
			_ = child.WriteRaw(transport.LaneBulk, c.raw) // the far end may close while this writes
			err := ended(t, parent)
			if !errors.Is(err, transport.ErrProtocol) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("session ended with %v, want %q", err, c.says)
			}
			e.wantRefusal(c.code)
			var closed *transport.CloseError
			if err := ended(t, child); !errors.As(err, &closed) || closed.Code != c.code {
				t.Errorf("the offender learns %v, want code %s", err, c.code)
			}
		})
	}
}

// announceBody is a whole message of n zero bytes, as frames.
func announceBody(n int) []byte {
	first := binary.BigEndian.AppendUint32([]byte{1}, uint32(n))
	raw := transport.AppendFrame(nil, transport.FrameData, true, append(first, make([]byte, transport.MaxChunk)...))
	for left := n - transport.MaxChunk; left > 0; left -= transport.MaxChunk {
		raw = append(raw, transport.AppendFrame(nil, transport.FrameData, left > transport.MaxChunk, make([]byte, transport.MaxChunk))...)
	}
	return raw
}

func TestClockFromTheFutureEndsTheSession(t *testing.T) {
	stamp := make(chan uint64, 1)
	stamp <- 10
	e := newEdge(t, func(listen, dial *transport.Options) {
		dial.Stamp.Send = func() uint64 {
			now := <-stamp
			stamp <- now
			return now
		}
		listen.Stamp.Receive = func(hlc uint64) error {
			if hlc > 1000 {
				return fmt.Errorf("stamp %d is ahead of this clock", hlc)
			}
			return nil
		}
	})
	child, parent := e.open(transport.Hello{})
	<-stamp
	stamp <- 1 << 60
	_ = child.SendControl(within(t), message(0, 1))
	if err := ended(t, parent); !strings.Contains(err.Error(), "ahead of this clock") {
		t.Errorf("session ended with %v", err)
	}
	e.wantRefusal(transport.CodeClock)
	_, err := transport.Dial(within(t), e.addr(), transport.Hello{}, e.dial)
	var refusal *transport.Refusal
	if !errors.As(err, &refusal) || refusal.Code != transport.CodeClock {
		t.Errorf("dial with that clock: %v", err)
	}
}

func TestOneLostConnectionEndsBoth(t *testing.T) {
	e := newEdge(t, nil)
	for _, lane := range []transport.Lane{transport.LaneCritical, transport.LaneBulk} {
		child, parent := e.open(transport.Hello{})
		child.Sever(lane)
		if err := ended(t, parent); !strings.Contains(err.Error(), "connection lost") {
			t.Errorf("%s: parent ended with %v", lane, err)
		}
		ended(t, child)
	}
}
