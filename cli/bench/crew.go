//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"pando/transport"
	"pando/transport/ca"
)

const (
	domain = "pando.bench"
	region = "lab"
	// validity of the certificates: longer than a run may take.
	validity = MaxFor + time.Hour
	// callLimit is how long a process may take to answer while the machine is
	// at its limit; what takes longer hangs.
	callLimit = 60 * time.Second
	// stopLimit is how long a process may take to end before it is killed.
	// Nothing depends on a graceful end: its data is thrown away.
	stopLimit = 5 * time.Second
)

// crew are the processes of a run. They end when it ends, also if it is killed:
// each ends with the pipe that it is told by. Not safe for concurrent use.
type crew struct {
	dir     string
	opts    Options
	workers []*worker // in the order of their start
}

// worker is one process.
type worker struct {
	tier, name string
	cmd        *exec.Cmd
	in         io.Closer
	client     *rpc.Client
}

func newCrew(dir string, o Options) (*crew, error) {
	c := &crew{dir: dir, opts: o}
	return c, ca.Init(c.path("tls"), domain, validity)
}

func (c *crew) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// issue makes a node's certificate and key and returns their files.
func (c *crew) issue(role transport.Role, name string) (transport.Files, error) {
	cert, key, err := ca.Issue(c.path("tls"), transport.Identity{Domain: domain, Role: role, Region: region, Name: name}, nil, validity)
	if err != nil {
		return transport.Files{}, err
	}
	files := transport.Files{CA: c.path("tls", ca.CertFile), Cert: c.path("tls", name+".pem"), Key: c.path("tls", name+"-key.pem")}
	return files, ca.Save(files.Cert, files.Key, cert, key)
}

// spec is what every node is given: a folder of its own and who it is.
func (c *crew) spec(role transport.Role, name string) (s Spec, err error) {
	s = Spec{Dir: c.path(name), LogLevel: c.opts.LogLevel}
	if s.Files, err = c.issue(role, name); err == nil {
		err = os.MkdirAll(s.Dir, 0o755)
	}
	return s, err
}

// pipe is both ends of a process's standard streams.
type pipe struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipe) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

// start starts a process of a tier. It does nothing before it is told to.
func (c *crew) start(tier, name string) (*worker, error) {
	w := &worker{tier: tier, name: name, cmd: c.opts.Command(tier)}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.cmd.Stderr = c.opts.Progress
	w.cmd.WaitDelay = stopLimit
	// A Ctrl-C is for this process alone, which ends the others in order.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process for %s: %w", name, err)
	}
	w.in, w.client = in, rpc.NewClient(pipe{out, in})
	c.workers = append(c.workers, w)
	if c.opts.ProfileDir != "" {
		path, err := filepath.Abs(filepath.Join(c.opts.ProfileDir, name+".pprof"))
		if err != nil {
			return nil, err
		}
		return w, w.call(context.Background(), "Profile", path, &None{})
	}
	return w, nil
}

// call has a process do something, and waits for what it says.
func (w *worker) call(ctx context.Context, method string, args, reply any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callLimit, errors.New("no answer"))
	defer cancel()
	call := w.client.Go("Node."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("%s: %s: %w", w.name, method, call.Error)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: %w", w.name, method, context.Cause(ctx))
	}
}

// of are the processes of a tier, in the order of their start.
func (c *crew) of(tier string) (list []*worker) {
	for _, w := range c.workers {
		if w.tier == tier {
			list = append(list, w)
		}
	}
	return list
}

// stop ends all processes and waits until they are gone.
func (c *crew) stop() {
	var all sync.WaitGroup
	for _, w := range c.workers {
		all.Go(func() {
			_ = w.in.Close() // the process may be gone already
			late := time.AfterFunc(stopLimit, func() { _ = w.cmd.Process.Kill() })
			defer late.Stop()
			_ = w.cmd.Wait() // how it ends is of no interest: what it had to say was asked before
			_ = w.client.Close()
		})
	}
	all.Wait()
}

// usages are those of all processes, by tier, in the order of their start.
type usages struct {
	at    time.Time
	tiers map[string][]Usage
}

// usage reads what all processes have taken so far. It is an error if one of
// them has failed.
func (c *crew) usage(ctx context.Context) (u usages, err error) {
	u.tiers = map[string][]Usage{}
	u.at = time.Now()
	for _, w := range c.workers {
		var one Usage
		if err := w.call(ctx, "Usage", None{}, &one); err != nil {
			return u, err
		}
		u.tiers[w.tier] = append(u.tiers[w.tier], one)
	}
	return u, nil
}

// await asks again and again until something holds.
func (c *crew) await(ctx context.Context, what string, limit time.Duration, holds func() error) error {
	for begun := time.Now(); ; {
		err := holds()
		if err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(begun) > limit {
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
		if _, err := c.usage(ctx); err != nil {
			return fmt.Errorf("while waiting for %s: %w", what, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
