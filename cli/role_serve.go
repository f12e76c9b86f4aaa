package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"pando/internal/ops"
	"pando/transport"
)

// node is a role at work.
type node interface {
	// Run blocks until ctx ends, which is a graceful stop, or the node fails.
	Run(ctx context.Context) error
	// API serves /v1/.
	API() http.Handler
	// Health returns why the node is not ready, or nil.
	Health() error
}

// uploader is a node whose API takes large bodies at some patterns.
type uploader interface {
	// Uploads returns the most bytes of a body, by pattern.
	Uploads() map[string]int64
}

// shell is what surrounds a role in its process: credentials, metrics, logs,
// and the listeners for operators.
//
//	plain HTTP  ops ─► /healthz /readyz /metrics
//	mutual TLS  api ─► operators only ─► the node's /v1/
//	SIGHUP      ─► configuration and certificates are read again
//	SIGTERM     ─► ctx ends ─► the node stops gracefully ─► listeners close
type shell struct {
	log    *slog.Logger
	creds  *transport.Credentials
	reg    *prometheus.Registry
	server *ops.Server
	api    string // where the API can be reached, or empty

	reloader reloader
	hangup   <-chan os.Signal
}

// newShell binds the listeners.
func newShell(e *env, c *roleConfig, creds *transport.Credentials, hangup <-chan os.Signal) (*shell, error) {
	log, err := e.logger()
	if err != nil {
		return nil, err
	}
	reg, err := ops.NewRegistry()
	if err != nil {
		return nil, err
	}
	o := ops.Options{Addr: c.Ops, Registry: reg, Logger: log}
	if c.API != "" {
		o.APIAddr, o.APITLS = c.API, creds.ServerConfig()
	}
	s := &shell{log: log, creds: creds, reg: reg, hangup: hangup, reloader: reloader{creds: creds}}
	if s.server, err = ops.New(o); err != nil {
		return nil, withHint(err, "another process may hold the address; change ops: or api: in the configuration")
	}
	if c.API != "" {
		s.api = s.server.APIAddr().String()
	}
	if c.AdvertiseAPI != "" {
		s.api = c.AdvertiseAPI
	}
	return s, nil
}

// beginGrace is how long a stop waits for a node that is still being made.
const beginGrace = time.Second

// begin makes the node, which takes as long as its log is long. Without a node
// it closes the listeners: if making it failed, or if ctx ends meanwhile,
// which is a stop like any other. A node that is made after that stops at
// once; a process that does not wait for it ends as at a crash, which a log
// that is being read does not mind.
func begin[N node](ctx context.Context, s *shell, create func() (N, error)) (n N, ok bool, err error) {
	type made struct {
		n   N
		err error
	}
	done := make(chan made, 1)
	go func() {
		n, err := create()
		done <- made{n, err}
	}()
	var m made
	select {
	case m = <-done:
	case <-ctx.Done():
		select {
		case m = <-done:
		case <-time.After(beginGrace):
			s.log.Info("node stopped while it was starting")
			go func() {
				if m := <-done; m.err == nil {
					_ = m.n.Run(ctx)
				}
			}()
			return n, false, s.server.Close()
		}
	}
	if m.err != nil {
		_ = s.server.Close() // nothing was served
		return n, false, m.err
	}
	return m.n, true, nil
}

// run serves the node until ctx ends or either fails. It closes the listeners
// also if it fails.
func (s *shell) run(ctx context.Context, n node) error {
	role := s.creds.Identity().Role
	s.server.Check(ops.Check{Name: string(role), Probe: func(context.Context) error { return n.Health() }})
	if s.api != "" {
		api := readers(n.API())
		s.server.Handle("/v1/", api)
		if u, ok := n.(uploader); ok {
			for pattern, limit := range u.Uploads() {
				s.server.HandleUpload(pattern, limit, api)
			}
		}
		s.server.Handle("POST /v1/reload", only(http.HandlerFunc(s.serveReload), transport.RoleOperator))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The listeners outlive the node, so that its last state can be seen.
	listening, closeListeners := context.WithCancel(context.WithoutCancel(ctx))
	defer closeListeners()
	var listeners, hangups sync.WaitGroup
	var served error
	listeners.Go(func() {
		served = s.server.Run(listening)
		cancel()
	})
	hangups.Go(func() { s.reloadOnHangup(ctx) })
	s.log.Info("node starts", "role", string(role), "node", s.creds.Identity().Node(),
		"ops", s.server.Addr().String(), "api", s.api, "version", ops.ReadVersion().Version)
	err := n.Run(ctx)
	cancel()
	closeListeners()
	listeners.Wait()
	hangups.Wait()
	if err = errors.Join(err, served); err == nil {
		s.log.Info("node stopped")
	}
	return err
}

// reloadOnHangup reads configuration and certificates again at SIGHUP.
func (s *shell) reloadOnHangup(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hangup:
			_, _ = s.reloadNow("SIGHUP") // it is logged
		}
	}
}

// readers lets everybody of the tree read but agents.
func readers(h http.Handler) http.Handler {
	return only(h, transport.RoleOperator, transport.RoleRelay, transport.RoleRoot)
}

// only lets certificates of some roles through. Agents' never are among them:
// they are of the domain, but stand on machines that many can touch.
func only(h http.Handler, allowed ...transport.Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "show a certificate", http.StatusUnauthorized)
			return
		}
		id, err := transport.ParseIdentity(r.TLS.PeerCertificates[0])
		if err != nil || !slices.Contains(allowed, id.Role) {
			http.Error(w, "an operator's certificate is needed: pando ca issue --role operator", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// addRoleFlags adds the flags that all roles have.
func addRoleFlags(cmd *cobra.Command, f *roleFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "configuration file (required)")
	flags.StringVar(&f.dir, "dir", "", "data folder, instead of the file's dir")
	flags.StringVar(&f.ops, "ops", "", "host:port of health and metrics, instead of the file's ops")
	flags.StringVar(&f.api, "api", "", "host:port of the API, instead of the file's api")
	require(cmd, "config")
}
