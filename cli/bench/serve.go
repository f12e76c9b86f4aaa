//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"pando/internal/ops"
	"pando/transport"
)

// Tiers of processes, as they are in the figures.
const (
	tierRoot      = "root"
	tierRelay     = "relay"
	tierAgent     = "agent"
	tierGenerator = "generator"
	// tierWriter is the generator of text lines, which is in the figures as
	// the generator too.
	tierWriter = "writer"
)

// None stands for no argument and no answer.
type None struct{}

// Spec is what every node is given.
type Spec struct {
	Dir      string // its own
	Files    transport.Files
	Parents  []string // addresses of the tier above
	LogLevel slog.Level
}

// process is what all processes of a benchmark do beside their work. Its
// exported methods are called by the parent, by name.
type process struct {
	ctx    context.Context // ends with the process
	errs   io.Writer
	level  slog.LevelVar // of the log; in the end nothing is logged, as everything falls apart then
	parts  sync.WaitGroup
	mu     sync.Mutex
	failed error
	close  []func() error
}

// Serve is the life of one process: it does what is asked of it by in, answers
// on out, and ends when in does. Only [Relay] and [Tree] can talk to it.
func Serve(ctx context.Context, tier string, in io.ReadCloser, out io.WriteCloser, errs io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &process{ctx: ctx, errs: errs}
	nodes := map[string]any{tierRoot: &rootNode{process: p}, tierRelay: &relayNode{process: p}, tierAgent: &agentNode{process: p},
		tierGenerator: &feeder{process: p}, tierWriter: &writer{process: p}}
	node, known := nodes[tier]
	if !known {
		return fmt.Errorf("bench: no tier %q", tier)
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Node", node); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = in.Close() })
	defer stop()
	server.ServeConn(pipe{in, out})
	return p.end(cancel)
}

// graceOfParts is how long what runs may take to stop. It is less than the
// parent waits.
const graceOfParts = stopLimit / 2

// silent is above all levels.
const silent = slog.Level(1 << 20)

func (p *process) end(cancel context.CancelFunc) error {
	p.level.Set(silent)
	var faults []error
	for _, f := range p.close {
		faults = append(faults, f())
	}
	cancel()
	done := make(chan struct{})
	go func() {
		p.parts.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(graceOfParts): // the data is thrown away, so nothing is lost
	}
	return errors.Join(faults...)
}

// Profile takes a CPU profile from now on, until the process ends.
func (p *process) Profile(path string, _ *None) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	p.close = append(p.close, func() error {
		pprof.StopCPUProfile()
		return f.Close()
	})
	return nil
}

// Usage tells what the process has taken, or why it cannot go on.
func (p *process) Usage(_ None, u *Usage) (err error) {
	if err := p.failure(); err != nil {
		return err
	}
	*u, err = readUsage()
	return err
}

// run starts a part of the node. Its failure is the node's.
func (p *process) run(part func(context.Context) error) {
	p.parts.Go(func() {
		err := part(p.ctx)
		if p.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("the node ended by itself")
		}
		p.fail(err)
	})
}

func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
}

func (p *process) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *process) logger(level slog.Level) (*slog.Logger, error) {
	p.level.Set(level)
	return ops.NewLogger(ops.LogOptions{Writer: p.errs, Level: &p.level})
}
