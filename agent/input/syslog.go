package input

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"pando/internal/ops"
)

var errNotSyslog = errors.New("not a syslog message")

const (
	// probeEvery is how often a listener or connection that waits is looked at
	// again, so that Status.AsOf goes on: well under the heartbeats.
	probeEvery = 200 * time.Millisecond

	// stallAfter is how long a sender may say nothing inside a message before
	// the connection is closed, so that senders that died in the middle do not
	// use up the connections. TCP keep-alive finds those that died in between,
	// and the spec's idle limit those that dribble.
	stallAfter = int64(time.Minute)

	// listenAgain is how long a source waits before it tries again to listen.
	listenAgain = time.Second

	// socketBytes is read at a time; a datagram is never larger.
	socketBytes = 64 << 10

	// receiveBuffer is asked of the kernel for UDP: about 100 ms of datagrams
	// at the rate one core can parse them.
	receiveBuffer = 4 << 20
)

// syslogSource listens for syslog messages.
//
//	accept ─ one goroutine per connection: read ─ frame ─ extract ─ outbox ─┐
//	UDP    ─ one goroutine:               receive ─ extract ─ outbox ──────┴─ Put, one at a time
//
// While Put blocks nobody reads, and TCP's window tells the senders.
type syslogSource struct {
	spec   Spec
	rules  *mapper
	sink   Sink
	stamps *stamper
	counts *metrics
	clock  func() int64
	wall   func() time.Time
	log    *slog.Logger

	putting sync.Mutex // held around stamps and Put

	mu      sync.Mutex
	readers map[*reader]struct{} // open connections, or the UDP socket
	crowd   ops.Seldom           // of log lines about connections that are too many
	accept  seen                 // when the listener last had nobody waiting
	asOf    int64
	address string
	fault   error
}

func newSyslog(o Options, rules *mapper, counts *metrics) *syslogSource {
	return &syslogSource{
		spec: o.Spec, rules: rules, sink: o.Sink, counts: counts, clock: o.Clock, wall: o.Wall, log: o.Logger,
		stamps:  newStamper(o.Clock, o.Wall, counts),
		readers: map[*reader]struct{}{}, crowd: ops.Seldom{Every: crowdEvery},
	}
}

// Run implements [Source]. If it cannot listen it tries again, so that one
// port in use does not stop an agent; its status says so.
func (s *syslogSource) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.ended(ctx)
		case <-timer.C:
		}
		err := s.listen(ctx, cancel)
		if ctx.Err() != nil {
			return s.ended(ctx)
		}
		s.setFault(err)
		timer.Reset(listenAgain)
	}
}

// ended is what Run returns: nil if it was told to stop, else what stopped it.
func (s *syslogSource) ended(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("syslog %q: %w", s.spec.Name, err)
	}
	return nil
}

// listen serves one listener until it fails or ctx ends.
func (s *syslogSource) listen(ctx context.Context, cancel context.CancelCauseFunc) error {
	if s.spec.Protocol == ProtocolUDP {
		return s.listenUDP(ctx, cancel)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", s.spec.Listen)
	if err != nil {
		return err
	}
	listener, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return fmt.Errorf("listen on %s: not TCP", s.spec.Listen)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // ends the connections too
	unlink := context.AfterFunc(ctx, func() { listener.Close() })
	defer unlink()
	defer listener.Close()
	s.opened(listener.Addr())
	defer s.closed()
	for {
		at := s.clock()
		if err := listener.SetDeadline(time.Now().Add(probeEvery)); err != nil {
			return err
		}
		conn, err := listener.AcceptTCP()
		if isTimeout(err) {
			s.acceptIdle(at)
			continue
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		r := s.place(ctx, conn)
		if r == nil {
			conn.Close()
			continue
		}
		serving.Go(func() {
			if err := s.serve(ctx, conn, r); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func (s *syslogSource) opened(a net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address, s.fault = a.String(), nil
	// Nothing could come before there was a listener.
	s.accept = seen{s.clock(), true}
	s.log.Info("listening", "address", s.address, "protocol", s.spec.Protocol)
}

func (s *syslogSource) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address, s.fault, s.accept = "", errors.New("not listening"), seen{}
}

func (s *syslogSource) setFault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.fault == nil || s.fault.Error() != err.Error()) {
		s.log.Warn("not listening", "listen", s.spec.Listen, "error", err)
	}
	s.fault = err
}

// Status implements [Source].
func (s *syslogSource) Status() Status {
	s.mu.Lock()
	st := Status{Source: s.spec.Name, AsOf: s.asOf, Address: s.address, CaughtUp: true}
	st.Readable = s.address != "" && s.fault == nil
	if s.fault != nil {
		st.Error = s.fault.Error()
	}
	for r := range s.readers {
		st.CaughtUp = st.CaughtUp && !r.busy
	}
	st.CaughtUp = st.CaughtUp && st.Readable
	s.mu.Unlock()
	s.counts.fill(&st)
	return st
}
