package transport

import (
	"fmt"
	"math"
	"strings"
	"time"

	"pando/internal/pack"
)

// Limits of what a handshake carries.
const (
	maxCode    = 64
	maxText    = 1 << 10
	maxAddress = 512
	maxRetry   = time.Hour
	tokenSize  = 16 // 128 random bits cannot be guessed within a handshake

	// maxGreeting bounds a HELLO or WELCOME: its body and its few fields.
	maxGreeting = MaxBody + 4<<10
)

// Versions is a range of wire versions, both ends included. The zero value
// stands for what this package speaks.
type Versions struct{ Min, Max uint16 }

func (v Versions) String() string { return fmt.Sprintf("%d to %d", v.Min, v.Max) }

// choose returns the newest version both ranges have.
func (v Versions) choose(w Versions) (uint16, bool) {
	newest := min(v.Max, w.Max)
	return newest, newest >= max(v.Min, w.Min) && newest > 0
}

// Hello is what the dialing side says first.
type Hello struct {
	Versions Versions      // zero: what this package speaks
	Term     Term          // both connections carry it
	Body     []byte        // the caller's, at most MaxBody
	Credit   [Lanes]Credit // what the listener may send; zero: Options.Credit

	// Want is the node name (region/name) that must answer, or empty. It is
	// checked on the dialing side and does not travel.
	Want string
}

// Welcome is what the listening side answers.
type Welcome struct {
	Version  uint16        // filled in: the version chosen
	Body     []byte        // the caller's, at most MaxBody
	Credit   [Lanes]Credit // what the dialing side may send; zero: Options.Credit
	Redirect string        // if set: no session, dial this address instead
}

// greeting is a HELLO with what the transport adds to the caller's part.
type greeting struct {
	Hello
	heartbeat time.Duration
	t1        int64
}

func (g greeting) encode() []byte {
	w := pack.NewWriter()
	w.Uint(uint64(g.Versions.Min)) // the first two fields stay first in every version
	w.Uint(uint64(g.Versions.Max))
	w.Uint(g.Term.Epoch)
	w.Uint(g.Term.Session)
	w.Bin(g.Body)
	for _, credit := range g.Credit {
		w.Uint(uint64(credit))
	}
	w.Uint(uint64(g.heartbeat))
	w.Int(g.t1)
	return w.Bytes()
}

// decodeGreeting reads a HELLO. The version is judged before anything that
// may differ between versions is read; no version in common is a *Refusal.
func decodeGreeting(b []byte) (greeting, uint16, error) {
	r := pack.NewReader(b)
	var g greeting
	g.Versions.Min = uint16(r.Uint("min version", math.MaxUint16))
	g.Versions.Max = uint16(r.Uint("max version", math.MaxUint16))
	if err := r.Err(); err != nil {
		return g, 0, malformed(frameHello, err)
	}
	ours := Versions{MinVersion, Version}
	version, ok := g.Versions.choose(ours)
	if !ok {
		return g, 0, &Refusal{Code: CodeVersion,
			Reason: fmt.Sprintf("peer speaks versions %s, this node %s", g.Versions, ours),
			Hint:   "upgrade the older of the two nodes"}
	}
	g.Term.Epoch = r.Uint("epoch", math.MaxUint64)
	g.Term.Session = r.Uint("session", math.MaxUint64)
	g.Body = r.Bin("body", MaxBody)
	for lane := range g.Credit {
		g.Credit[lane] = Credit(r.Uint("credit", uint64(maxCredit)))
	}
	g.heartbeat = readHeartbeat(r)
	g.t1 = r.Int("t1")
	if err := r.Done(); err != nil {
		return g, 0, malformed(frameHello, err)
	}
	return g, version, nil
}

// reply is a WELCOME with what the transport adds to the caller's part.
type reply struct {
	Welcome
	token     [tokenSize]byte
	heartbeat time.Duration
	pong      pong
}

func (p reply) encode() []byte {
	w := pack.NewWriter()
	w.Uint(uint64(p.Version))
	w.Bin(p.Body)
	for _, credit := range p.Credit {
		w.Uint(uint64(credit))
	}
	w.String(p.Redirect)
	w.Bin(p.token[:])
	w.Uint(uint64(p.heartbeat))
	p.pong.write(w)
	return w.Bytes()
}

func decodeReply(b []byte) (reply, error) {
	r := pack.NewReader(b)
	var p reply
	p.Version = uint16(r.Uint("version", math.MaxUint16))
	if r.Err() == nil && (p.Version < MinVersion || p.Version > Version) {
		r.Fail("version", fmt.Errorf("peer chose version %d, this node speaks %d to %d", p.Version, MinVersion, Version))
	}
	p.Body = r.Bin("body", MaxBody)
	for lane := range p.Credit {
		p.Credit[lane] = Credit(r.Uint("credit", uint64(maxCredit)))
	}
	p.Redirect = r.String("redirect", maxAddress)
	readToken(r, &p.token)
	p.heartbeat = readHeartbeat(r)
	p.pong = readPong(r)
	if err := r.Done(); err != nil {
		return reply{}, malformed(frameWelcome, err)
	}
	return p, nil
}

// attachment is what the second connection says first.
type attachment struct {
	version uint16
	term    Term
	token   [tokenSize]byte
}

func (a attachment) encode() []byte {
	w := pack.NewWriter()
	w.Uint(uint64(a.version))
	w.Uint(a.term.Epoch)
	w.Uint(a.term.Session)
	w.Bin(a.token[:])
	return w.Bytes()
}

func decodeAttachment(b []byte) (attachment, error) {
	r := pack.NewReader(b)
	var a attachment
	a.version = uint16(r.Uint("version", math.MaxUint16))
	a.term.Epoch = r.Uint("epoch", math.MaxUint64)
	a.term.Session = r.Uint("session", math.MaxUint64)
	readToken(r, &a.token)
	if err := r.Done(); err != nil {
		return attachment{}, malformed(frameAttach, err)
	}
	return a, nil
}

func readToken(r *pack.Reader, token *[tokenSize]byte) {
	b := r.Bin("token", tokenSize)
	if r.Err() == nil && len(b) != tokenSize {
		r.Fail("token", fmt.Errorf("%d bytes, want %d", len(b), tokenSize))
	}
	copy(token[:], b)
}

func readHeartbeat(r *pack.Reader) time.Duration {
	d := time.Duration(r.Uint("heartbeat", uint64(maxHeartbeat)))
	if r.Err() == nil && d < minHeartbeat {
		r.Fail("heartbeat", fmt.Errorf("%s is below %s", d, minHeartbeat))
	}
	return d
}

// A refusal and a CLOSE have the same form: code, reason, hint, retry.

func (r *Refusal) encode() []byte {
	w := pack.NewWriter()
	w.String(clip(string(r.Code), maxCode))
	w.String(clip(r.Reason, maxText))
	w.String(clip(r.Hint, maxText))
	w.Uint(uint64(min(max(r.Retry, 0), maxRetry)))
	return w.Bytes()
}

func decodeRefusal(b []byte) (*Refusal, error) {
	r := pack.NewReader(b)
	refusal := &Refusal{
		Code:   Code(printable(r.String("code", maxCode))),
		Reason: printable(r.String("reason", maxText)),
		Hint:   printable(r.String("hint", maxText)),
		Retry:  time.Duration(r.Uint("retry", uint64(maxRetry))),
	}
	if err := r.Done(); err != nil {
		return nil, malformed(frameRefuse, err)
	}
	return refusal, nil
}

func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "")
}

// printable keeps a peer from writing control characters into our logs and
// onto the operator's terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

func malformed(typ frameType, err error) error {
	return violation(CodeMalformed, "%s: %w: %w", typ, ErrProtocol, err)
}
