package ops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
)

const (
	// headerTimeout closes connections that trickle their headers.
	headerTimeout = 5 * time.Second
	// requestTimeout bounds reading a request and writing its answer. A
	// handler that streams lifts it with http.ResponseController.
	requestTimeout = 30 * time.Second
	// idleTimeout outlives the usual scrape interval of 15 to 30 s, so that
	// scrapers keep their connection.
	idleTimeout = 60 * time.Second
	// stopTimeout is what requests in flight get to finish when Run ends.
	stopTimeout = 5 * time.Second
	// maxHeaderBytes is ample for an operator's client; Go's default is 1 MiB.
	maxHeaderBytes = 64 << 10
	// MaxBody is the most bytes a request's body may have, unless its handler
	// was given more. What is posted here are acknowledgements and settings,
	// never telemetry.
	MaxBody = 1 << 20
	// maxConns a listener holds open at once; more wait in the kernel's queue.
	maxConns = 256
)

// Options of a [Server].
type Options struct {
	// Addr is where /healthz, /readyz and /metrics are served over plain
	// HTTP, host:port; port 0 picks a free one.
	Addr string
	// APIAddr, if set, is a second listener, with TLS, for the handlers given
	// to [Server.Handle]; without it they are served at Addr.
	APIAddr string
	// APITLS is the API listener's configuration; required with APIAddr. It
	// should demand client certificates: the API changes things.
	APITLS *tls.Config
	// Registry is served at /metrics; see [NewRegistry]. Required.
	Registry *prometheus.Registry
	// Checks decide /readyz. More can be added with [Server.Check].
	Checks []Check
	// Logger gets the server's own complaints. Required.
	Logger *slog.Logger
}

func (o *Options) validate() error {
	var faults []error
	if o.Addr == "" {
		faults = append(faults, errors.New("addr: empty; give host:port"))
	}
	if o.APIAddr != "" && o.APITLS == nil {
		faults = append(faults, errors.New("api addr: needs a TLS configuration"))
	}
	if o.Registry == nil {
		faults = append(faults, errors.New("registry: missing"))
	}
	if o.Logger == nil {
		faults = append(faults, errors.New("logger: missing"))
	}
	return errors.Join(faults...)
}

// Server serves a node's operational endpoints, and its API. Mount handlers
// and checks before [Server.Run]; Handle, Check and Run are for one
// goroutine, Addr and APIAddr for any.
type Server struct {
	opts   Options
	mux    *http.ServeMux // at Addr
	apiMux *http.ServeMux // at APIAddr; nil without
	plain  net.Listener
	api    net.Listener // nil without APIAddr
}

// New binds the listeners, so that the addresses are known and taken; nothing
// is answered before [Server.Run].
func New(opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("ops server: %w", err)
	}
	opts.Checks = slices.Clone(opts.Checks)
	s := &Server{opts: opts, mux: http.NewServeMux()}
	var err error
	if s.plain, err = listen(opts.Addr); err != nil {
		return nil, fmt.Errorf("ops server: %w", err)
	}
	if opts.APIAddr != "" {
		inner, err := listen(opts.APIAddr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("ops server: api: %w", err), s.plain.Close())
		}
		s.api, s.apiMux = tls.NewListener(inner, opts.APITLS), http.NewServeMux()
	}
	s.mux.HandleFunc("GET /healthz", liveHandler)
	s.mux.Handle("GET /metrics", metricsHandler(opts.Registry))
	return s, nil
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return netutil.LimitListener(l, maxConns), nil
}

// Addr is the bound address of the plain listener.
func (s *Server) Addr() net.Addr { return s.plain.Addr() }

// APIAddr is the bound address where the API is served, with or without TLS.
func (s *Server) APIAddr() net.Addr {
	if s.api == nil {
		return s.plain.Addr()
	}
	return s.api.Addr()
}

// Handle mounts an API handler under a pattern of [http.ServeMux]. Its request
// contexts end when Run's does. A body beyond [MaxBody] fails to read with
// [http.MaxBytesError].
func (s *Server) Handle(pattern string, h http.Handler) {
	s.HandleUpload(pattern, MaxBody, h)
}

// HandleUpload is [Server.Handle] for a body of at most limit bytes. Such a
// handler must see to it that reading it is not bounded in time, by
// [http.ResponseController].
func (s *Server) HandleUpload(pattern string, limit int64, h http.Handler) {
	mux := s.mux
	if s.apiMux != nil {
		mux = s.apiMux
	}
	mux.Handle(pattern, http.MaxBytesHandler(h, limit))
}

// Check adds a condition to /readyz.
func (s *Server) Check(c Check) { s.opts.Checks = append(s.opts.Checks, c) }

// Close frees the addresses of a server that will not be run.
func (s *Server) Close() error {
	err := s.plain.Close()
	if s.api != nil {
		err = errors.Join(err, s.api.Close())
	}
	return err
}

// Run serves until the context ends, then grants requests in flight a few
// seconds and returns nil. An error means that a listener failed; both are
// closed then.
func (s *Server) Run(ctx context.Context) error {
	s.mux.Handle("GET /readyz", readyHandler(s.opts.Checks))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	servers := map[*http.Server]net.Listener{s.server(ctx, s.mux): s.plain}
	if s.api != nil {
		servers[s.server(ctx, s.apiMux)] = s.api
	}
	failed := make(chan error, len(servers))
	for srv, l := range servers {
		go func() { failed <- srv.Serve(l) }()
	}
	var err error
	left := len(servers)
	select {
	case <-ctx.Done():
	case err = <-failed:
		left--
	}
	// The request contexts end here too: a stream would never finish by itself.
	cancel()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	for srv := range servers {
		if srv.Shutdown(stop) != nil {
			_ = srv.Close() // grace is over; what is cut here was told to stop
		}
	}
	for range left {
		<-failed
	}
	if err != nil {
		return fmt.Errorf("ops server: %w", err)
	}
	return nil
}

func (s *Server) server(ctx context.Context, mux *http.ServeMux) *http.Server {
	return &http.Server{
		Handler:           mux,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}
}
