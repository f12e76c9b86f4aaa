package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of what may be configured, and of what a peer may ask for.
const (
	// minHeartbeat keeps a mistyped or hostile interval from making a busy
	// loop; maxHeartbeat keeps a dead peer from being held for hours.
	minHeartbeat = time.Millisecond
	maxHeartbeat = time.Minute

	// heartbeatsPerTimeout is how many heartbeats fit the timeout at least:
	// one may be late without the session dying.
	heartbeatsPerTimeout = 2

	// maxCredit keeps sums of credits far from overflow; no machine buffers
	// a tebibyte.
	maxCredit Credit = 1 << 40
)

// Time lets the heartbeats measure time.
type Time struct {
	// Now reads the local monotonic clock in nanoseconds, for T1 and T4. It
	// is required with Options.Sample, so that samples of several sessions
	// are on one clock.
	Now func() int64

	// Root is this node's estimate of root time, for T2 and T3 of its
	// children: nanoseconds since the Unix epoch and the bound of its error.
	// ok is false while there is no estimate. Nil means there never is one.
	Root func() (now, bound int64, ok bool)
}

// Stamp connects the session to a hybrid logical clock: Send stamps each
// frame's header, Receive takes the stamp of each frame that came in. An
// error of Receive ends the handshake or the session with CodeClock. Both are
// called from several goroutines; nil leaves stamps zero and unread.
type Stamp struct {
	Send    func() uint64
	Receive func(uint64) error
}

// Sample is one four-timestamp exchange, as the dialing side sees it: T1 and
// T4 are on its own monotonic clock (Time.Now), T2 and T3 in root time as the
// peer knows it, with an error of at most Bound. OK is false if the peer had no
// estimate; T2 and T3 are then meaningless, T4 − T1 is still the round trip.
type Sample struct {
	T1, T2, T3, T4 int64 // nanoseconds
	Bound          int64 // nanoseconds
	OK             bool
}

// RTT is the round trip without the time the peer held the exchange, in
// nanoseconds and never negative.
func (s Sample) RTT() int64 {
	rtt := s.T4 - s.T1
	if s.OK && s.T3 > s.T2 {
		rtt -= s.T3 - s.T2
	}
	return max(rtt, 0)
}

// Options configure a listener or a dialed session. Start from
// [DefaultOptions].
type Options struct {
	Credentials *Credentials          // required
	Network     Network               // nil: TCP
	Logger      *slog.Logger          // nil: nothing is logged
	Registerer  prometheus.Registerer // nil: metrics are kept nowhere

	Heartbeat        time.Duration // between two PINGs; the smaller of both sides' counts
	Timeout          time.Duration // without any frame on a connection the session is dead
	HandshakeTimeout time.Duration // from the first byte to a complete session

	// Credit is what the peer may have in flight on each lane before this
	// side grants more. A message starts whenever some credit is left, so a
	// lane holds at most its credit plus one message.
	Credit [Lanes]Credit

	// MaxPending bounds a listener three times over: connections whose first
	// frame has not come, sessions that wait for their second connection, and
	// sessions that wait for Accept.
	MaxPending int

	// MaxPendingPerHost bounds those connections of one remote IP address (of
	// one /64 of IPv6) whose certificate has not been seen yet, so that one
	// machine cannot take all places. Nodes behind one address translator
	// share it, and proving who they are takes them a few round trips.
	MaxPendingPerHost int

	Time  Time
	Stamp Stamp

	// Admit judges the peer's certificate; hello is the dialing side's. Nil
	// applies the subtree rule, [Admit]. Called from several goroutines.
	Admit func(peer Identity, hello Hello) error

	// Answer decides a listener's WELCOME. An error refuses; a *Refusal is
	// told to the peer as it is. The session may still fail to come about,
	// so Answer must reserve nothing that only a session's end would release.
	// Nil welcomes everybody that Admit lets in. Called from several
	// goroutines.
	Answer func(peer Identity, hello Hello) (Welcome, error)

	// Sample takes every exchange a dialed session completes, the first
	// before Dial returns. It is called from the session's reader: it must
	// return quickly and must not call Close. Nil drops them.
	Sample func(*Session, Sample)
}

// DefaultOptions are for a data-centre network; Credentials are still to be
// set.
func DefaultOptions() Options {
	return Options{
		Network:          TCP(),
		Heartbeat:        200 * time.Millisecond,
		Timeout:          500 * time.Millisecond,
		HandshakeTimeout: 5 * time.Second,
		Credit:           [Lanes]Credit{LaneCritical: 4 << 20, LaneBulk: 8 << 20},
		MaxPending:       256,

		MaxPendingPerHost: 64,
	}
}

func (o Options) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Credentials == nil {
		fault("credentials are required")
	}
	if o.Heartbeat < minHeartbeat || o.Heartbeat > maxHeartbeat {
		fault("heartbeat %s is outside %s to %s", o.Heartbeat, minHeartbeat, maxHeartbeat)
	}
	if o.Timeout < heartbeatsPerTimeout*o.Heartbeat {
		fault("timeout %s is below %d heartbeats of %s", o.Timeout, heartbeatsPerTimeout, o.Heartbeat)
	}
	if o.HandshakeTimeout <= 0 {
		fault("handshake timeout %s is not positive", o.HandshakeTimeout)
	}
	for lane, credit := range o.Credit {
		if credit <= 0 || credit > maxCredit {
			fault("%s credit %d is outside 1 to %d", Lane(lane), credit, maxCredit)
		}
	}
	if o.MaxPending <= 0 {
		fault("max pending %d is not positive", o.MaxPending)
	}
	if o.MaxPendingPerHost <= 0 {
		fault("max pending per host %d is not positive", o.MaxPendingPerHost)
	}
	if o.Sample != nil && o.Time.Now == nil {
		fault("Sample needs Time.Now")
	}
	return errors.Join(faults...)
}

// complete checks the options and fills in what may be nil.
func (o Options) complete() (Options, error) {
	if err := o.validate(); err != nil {
		return o, err
	}
	if o.Network == nil {
		o.Network = TCP()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Time.Now == nil {
		start := time.Now()
		o.Time.Now = func() int64 { return int64(time.Since(start)) }
	}
	if o.Time.Root == nil {
		o.Time.Root = func() (int64, int64, bool) { return 0, 0, false }
	}
	if o.Stamp.Send == nil {
		o.Stamp.Send = func() uint64 { return 0 }
	}
	if o.Stamp.Receive == nil {
		o.Stamp.Receive = func(uint64) error { return nil }
	}
	if o.Answer == nil {
		o.Answer = func(Identity, Hello) (Welcome, error) { return Welcome{}, nil }
	}
	return o, nil
}
