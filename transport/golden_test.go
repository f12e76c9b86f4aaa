package transport

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pando/internal/golden"
)

// TestGoldenFrames pins the bytes of a frame and of all that is said before the
// first message: other nodes run other versions of this program, and must
// understand the part by which they agree on one.
func TestGoldenFrames(t *testing.T) {
	token := [tokenSize]byte{1, 2, 3}
	var out strings.Builder
	for _, c := range []struct {
		what  string
		bytes []byte
	}{
		{"data frame", appendFrame(nil, frameData, true, 0x0123456789abcdef, []byte("prefix"), []byte("payload"))},
		{"close frame", appendFrame(nil, frameClose, false, 2, nil, nil)},
		{"hello", greeting{Hello: Hello{Versions: Versions{1, 3}, Term: Term{7, 8}, Body: []byte("body"), Credit: [Lanes]Credit{1, 2}}, heartbeat: time.Second, t1: -5}.encode()},
		{"welcome", reply{Welcome: Welcome{Version: 1, Body: []byte("body"), Redirect: "host:1", Credit: [Lanes]Credit{3, 4}}, heartbeat: time.Second, pong: pong{1, 2, 3, 4, true}, token: token}.encode()},
		{"attach", attachment{version: 1, term: Term{1, 2}, token: token}.encode()},
		{"refuse", (&Refusal{Code: CodeTerm, Reason: "old", Hint: "newer", Retry: time.Second}).encode()},
		{"pong", pong{1, 2, 3, 4, true}.encode()},
	} {
		fmt.Fprintf(&out, "%s %x\n", c.what, c.bytes)
	}
	golden.Compare(t, "frames.golden", []byte(out.String()), "raise Version")
}
