package transport

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzFrames: what the reader accepts is, byte for byte, what the writer
// writes; anything else is an error, and the buffer never grows.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, frameData, true, 42, []byte("prefix"), []byte("payload")))
	f.Add(appendFrame(appendFrame(nil, framePing, false, 1, nil, make([]byte, 8)), frameClose, false, 2, nil, nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, src := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
			reader := newFrameReader(src, "peer")
			var again []byte
			for {
				got, err := reader.next()
				if err != nil {
					if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrProtocol) {
						t.Fatalf("error %v", err)
					}
					break
				}
				again = appendFrame(again, got.typ, got.more, got.hlc, nil, got.payload)
			}
			if !bytes.HasPrefix(b, again) {
				t.Fatalf("accepted %x, which the writer does not write", b)
			}
			if len(reader.buf) != readBuffer {
				t.Fatalf("the buffer grew to %d bytes", len(reader.buf))
			}
		}
	})
}

// FuzzGreeting: HELLO, WELCOME, ATTACH, REFUSE and PONG decode to what encodes
// to the same meaning, or fail.
func FuzzGreeting(f *testing.F) {
	hello := greeting{Hello: Hello{Versions: Versions{1, 3}, Term: Term{7, 8}, Body: []byte("body"), Credit: [Lanes]Credit{1, 2}}, heartbeat: time.Second, t1: -5}
	welcome := reply{Welcome: Welcome{Version: 1, Body: []byte("body"), Redirect: "host:1"}, heartbeat: time.Second, pong: pong{1, 2, 3, 4, true}}
	f.Add(hello.encode())
	f.Add(welcome.encode())
	f.Add(attachment{version: 1, term: Term{1, 2}}.encode())
	f.Add((&Refusal{Code: CodeTerm, Reason: "old", Hint: "newer"}).encode())
	f.Add(welcome.pong.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, version, err := decodeGreeting(b); err == nil {
			if version < MinVersion || version > Version || len(g.Body) > MaxBody || g.heartbeat < minHeartbeat {
				t.Fatalf("HELLO %+v of version %d", g, version)
			}
			same(t, g, greeting.encode, func(b []byte) (greeting, error) {
				g, _, err := decodeGreeting(b)
				return g, err
			})
		}
		if p, err := decodeReply(b); err == nil {
			same(t, p, reply.encode, decodeReply)
		}
		if a, err := decodeAttachment(b); err == nil {
			same(t, a, attachment.encode, decodeAttachment)
		}
		if r, err := decodeRefusal(b); err == nil {
			same(t, r, (*Refusal).encode, decodeRefusal)
		}
		if p, err := decodePong(b); err == nil {
			same(t, p, pong.encode, decodePong)
		}
	})
}

func same[T any](t *testing.T, v T, encode func(T) []byte, decode func([]byte) (T, error)) {
	t.Helper()
	again, err := decode(encode(v))
	if err != nil || !reflect.DeepEqual(v, again) {
		t.Fatalf("%+v came back as %+v, %v", v, again, err)
	}
}
