package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Errors that callers decide by; test with [errors.Is].
var (
	// ErrPeerSilent ends a session on which no frame came for Options.Timeout
	// on one of its connections.
	ErrPeerSilent = errors.New("peer silent")

	// ErrProtocol is wrapped by every error about bytes that a correct peer
	// does not send. The session, or the handshake, ends with it.
	ErrProtocol = errors.New("protocol violated")

	// ErrChecksum is an ErrProtocol: a frame's CRC does not match. TLS has
	// authenticated the bytes, so memory or software at one end is at fault.
	ErrChecksum = fmt.Errorf("checksum mismatch: %w", ErrProtocol)

	// ErrFrameTooLarge is an ErrProtocol: a frame's length is above the limit.
	ErrFrameTooLarge = fmt.Errorf("frame too large: %w", ErrProtocol)

	// ErrMessageTooLarge refuses to send a message above MaxMessage. The
	// session lives on.
	ErrMessageTooLarge = errors.New("message too large")

	// ErrIdentity says that a certificate names no node of the tree, or a node
	// that does not belong where it is.
	ErrIdentity = errors.New("identity refused")

	// ErrClosed is returned by a Listener that was closed.
	ErrClosed = errors.New("listener closed")
)

// Code says why something was refused, for programs; it is the value of the
// reason label of the metrics. Callers may add codes of their own.
type Code string

// Codes given by this package.
const (
	CodeVersion   Code = "version"   // no wire version in common
	CodeIdentity  Code = "identity"  // the certificate's subtree, or the expected name
	CodeClock     Code = "clock"     // Stamp.Receive refused a frame's HLC
	CodeTerm      Code = "term"      // an older term than one already known
	CodeToken     Code = "token"     // a second connection nobody waits for
	CodeBusy      Code = "busy"      // too many handshakes; try again later
	CodeCrowded   Code = "crowded"   // too many half-open connections of one address
	CodeEvicted   Code = "evicted"   // a half-open connection made room for another
	CodeOversize  Code = "oversize"  // a frame or message above its limit
	CodeChecksum  Code = "checksum"  // a frame's CRC
	CodeMalformed Code = "malformed" // anything else a correct peer does not send
	CodeCredit    Code = "credit"    // more data than was granted
	CodeRefused   Code = "refused"   // Answer's error was not a *Refusal
	CodeSilent    Code = "silent"    // ErrPeerSilent
	CodeStalled   Code = "stalled"   // the peer stopped reading
	CodeLost      Code = "lost"      // the connection broke
	CodeClosed    Code = "closed"    // one side closed on purpose
	CodeExpired   Code = "expired"   // certificate outside its validity
	CodeAuthority Code = "authority" // certificate of an unknown CA
	CodeTLS       Code = "tls"       // any other failure of the TLS handshake
	CodeTimeout   Code = "timeout"   // the handshake took too long
)

// Refusal is a refusal one side tells the other. A listener's Answer returns
// one to refuse a HELLO; Dial returns the one that came back.
type Refusal struct {
	Code   Code   // at most 64 bytes travel
	Reason string // what is wrong, for people; at most 1 KiB travels
	Hint   string // what to do about it; at most 1 KiB travels

	// Retry is when to come back, from now on; zero leaves it to the caller.
	// It travels in nanoseconds, an hour at most.
	Retry time.Duration
}

func (r *Refusal) Error() string {
	s := "refused (" + string(r.Code) + "): " + r.Reason
	if r.Hint != "" {
		s += "; " + r.Hint
	}
	return s
}

// RedirectError is returned by Dial if the listener asks to dial elsewhere.
type RedirectError struct {
	Peer Identity // who said so
	Addr string   // where to dial
	Body []byte   // the body of the WELCOME that said it
}

func (e *RedirectError) Error() string {
	return "redirected by " + e.Peer.String() + " to " + e.Addr
}

// CloseError ends a session that one side closed on purpose.
type CloseError struct {
	Code   Code
	Reason string
	Remote bool // the peer closed it
}

func (e *CloseError) Error() string {
	who := "closed here"
	if e.Remote {
		who = "closed by the peer"
	}
	return who + " (" + string(e.Code) + "): " + e.Reason
}

// refusedError carries the code of a violation found on this side, so that
// the peer can be told and the metric's label chosen in one place.
type refusedError struct {
	code Code
	err  error
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

func violation(code Code, format string, args ...any) error {
	return &refusedError{code: code, err: fmt.Errorf(format, args...)}
}

// codeOf finds the code of an error of any origin.
func codeOf(err error) Code {
	var coded *refusedError
	var refusal *Refusal
	var closed *CloseError
	var verify *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &refusal):
		return refusal.Code
	case errors.As(err, &closed):
		return closed.Code
	case errors.Is(err, ErrPeerSilent):
		return CodeSilent
	case errors.Is(err, ErrIdentity):
		return CodeIdentity
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CodeExpired
	case errors.As(err, &authority):
		return CodeAuthority
	case errors.Is(err, errHandshakeTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return CodeTimeout
	case errors.As(err, &verify), isTLS(err):
		return CodeTLS
	}
	return CodeLost
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &record) || errors.As(err, &alert)
}

// asRefusal turns an error into what the peer may be told: the code always,
// the text because both sides are authenticated nodes of one operator.
func asRefusal(err error, fallback Code) *Refusal {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	code := fallback
	var coded *refusedError
	if errors.As(err, &coded) {
		code = coded.code
	} else if errors.Is(err, ErrIdentity) {
		code = CodeIdentity
	}
	return &Refusal{Code: code, Reason: err.Error()}
}
