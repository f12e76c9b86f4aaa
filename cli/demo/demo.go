//go:build !zos

// Package demo lets a newcomer see a whole tree at work: roots under Raft,
// relays that gossip, agents with their logs, real TCP with mutual TLS, in one
// process and one folder. It writes what real systems would write while a
// SWIFT gateway fails, real inputs read it, and the tree finds out what
// happened in which order.
//
// It is a proof as much as a show. Every line carries a running number, the
// writers keep count and sum of them, and when all is over the figures are
// compared with the agents' logs and with the root's state, and every tier's
// log is stepped again. A run that does not come out right is an error.
//
// No part of it injects events or looks into a role: what is verified is read
// from the roles' public interfaces and, after they stopped, from their
// folders.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pando/agent/input"
	"pando/incident"
	"pando/transport"
)

// Options say how to run.
type Options struct {
	Seed    uint64
	Keep    string        // folder that keeps the data; empty: a temporary one, removed at the end
	Follow  bool          // stay up after the scenario until the context ends
	Limit   time.Duration // for everything but the time of Follow
	Tiers   int           // of relays, 1 or 2
	Profile Profile

	// Guard wraps the nodes' APIs; nil leaves them open to every certificate
	// of the tree.
	Guard func(http.Handler) http.Handler
	// Command is how this program is called, for lines that people can copy.
	Command string

	// network is a node's way to the others; nil: TCP.
	network func(node string) transport.Network

	Out         io.Writer // of the narration; nil: silent
	Color, Live bool      // what Out can show: colours, overwritten lines
	LogLevel    slog.Level
}

// DefaultOptions returns the options of what a newcomer sees.
func DefaultOptions() Options {
	return Options{Seed: 1, Tiers: 1, Limit: 45 * time.Second, Profile: DefaultProfile(), Command: "pando"}
}

// run is one demonstration under way.
type run struct {
	opts    Options
	dir     string
	say     *narrator
	hosts   []*host
	tree    *tree
	writers []*writer
	leaves  []*leaf // of the writers, by position
	summary Summary

	timelines []incident.Detail // of the incidents at the end
}

// Run plays the scenario and verifies what came of it. The summary is valid
// as far as the run came; the error says what went wrong with it.
func Run(ctx context.Context, o Options) (_ Summary, err error) {
	r := &run{opts: o, summary: Summary{Seed: o.Seed, Incidents: []Incident{}}}
	if o.Out != nil {
		r.say = &narrator{out: o.Out, color: o.Color, live: o.Live, start: time.Now()}
	}
	if o.Tiers < 1 || o.Tiers > MaxTiers {
		return r.summary, fmt.Errorf("demo: %d tiers of relays: give 1 to %d", o.Tiers, MaxTiers)
	}
	begun := time.Now()
	leave, err := r.enter()
	if err != nil {
		return r.summary, fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, leave()) }()
	if err := r.play(ctx); err != nil {
		r.say.note("")
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		return r.summary, fmt.Errorf("demo: %w", err)
	}
	r.summary.ElapsedMS = time.Since(begun).Milliseconds()
	r.conclude()
	if err := r.summary.verdict(); err != nil {
		return r.summary, fmt.Errorf("demo: it did not come out right: %w", err)
	}
	return r.summary, nil
}

// enter makes the folder; leave removes it unless it is to be kept.
func (r *run) enter() (leave func() error, err error) {
	if r.opts.Keep == "" {
		if r.dir, err = os.MkdirTemp("", "pando-demo-"); err != nil {
			return nil, err
		}
		return func() error { return os.RemoveAll(r.dir) }, nil
	}
	if r.dir, err = filepath.Abs(r.opts.Keep); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(r.dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("folder %s is not empty; name one that is, or that does not exist", r.dir)
	}
	return func() error { return nil }, err
}

// play goes through the run's parts:
//
//	plant the tree ─► write the scenario, watch the root ─► all settled
//	─► (follow) ─► read the root ─► stop every node ─► verify from outside
func (r *run) play(ctx context.Context) (err error) {
	logFile, err := os.Create(filepath.Join(r.dir, "demo.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logFile.Close()) }()
	log := slog.New(slog.NewTextHandler(logFile, &slog.HandlerOptions{Level: r.opts.LogLevel}))

	limited, cancel := context.WithTimeoutCause(ctx, r.opts.Limit, fmt.Errorf("it took longer than %v", r.opts.Limit))
	defer cancel()
	if err := r.plant(limited, log); err != nil {
		return err
	}
	defer r.tree.stop()
	if err := r.perform(limited); err != nil {
		return orCause(limited, err)
	}
	if r.opts.Follow {
		if err := r.follow(ctx); err != nil {
			return err
		}
		// What follows is the orderly end that an interrupt asks for.
		limited, cancel = context.WithTimeout(context.WithoutCancel(ctx), r.opts.Limit)
		defer cancel()
	}
	if err := r.settle(limited); err != nil {
		return orCause(limited, err)
	}
	totals, err := r.readRoot(limited)
	if err != nil {
		return orCause(limited, err)
	}
	r.closeWriters()
	r.say.note("stopping every node")
	r.tree.stop()
	r.say.note("verifying from outside")
	return r.verify(totals)
}

// orCause prefers the reason why the context ended.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// plant makes the hosts' folders and starts the tree.
func (r *run) plant(ctx context.Context, log *slog.Logger) (err error) {
	r.say.note("planting the tree")
	r.hosts = hosts(r.opts.Profile, r.opts.Seed)
	for _, h := range r.hosts {
		dir := filepath.Join(r.dir, "hosts", h.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, s := range h.sources {
			if s.spec.Type == input.TypeTail {
				s.spec.Path = filepath.Join(dir, s.spec.Name+".log")
				if err := os.WriteFile(s.spec.Path, nil, 0o644); err != nil {
					return err
				}
			}
		}
	}
	r.tree, err = plant(ctx, r.dir, r.opts, r.hosts, log)
	if err != nil {
		return fmt.Errorf("plant the tree: %w", err)
	}
	r.summary.Tree = Tree{Roots: len(r.tree.roots), Relays: len(r.tree.allRelays()), Agents: len(r.tree.leaves)}
	for _, l := range r.tree.leaves {
		for _, s := range l.sources {
			address := ""
			if s.spec.Type == input.TypeSyslog {
				if address, err = l.listener(s.spec.Name); err != nil {
					return err
				}
			}
			w, err := openWriter(ctx, l.host, s, address)
			if err != nil {
				return err
			}
			r.writers, r.leaves = append(r.writers, w), append(r.leaves, l)
		}
	}
	return nil
}

// perform writes the scenario while it is told what the root makes of it.
func (r *run) perform(ctx context.Context) error {
	r.announceTree()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var writing, watching sync.WaitGroup
	start := time.Now()
	for _, w := range r.writers {
		writing.Go(func() {
			if err := w.run(ctx, w.source.lines, start); err != nil {
				cancel(err)
			}
		})
	}
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	watching.Go(func() { r.narratePhases(watch, start) })
	watching.Go(func() { r.narrateIncidents(watch) })
	watching.Go(func() {
		select {
		case err := <-r.tree.failed:
			cancel(err)
		case <-watch.Done():
		}
	})
	writing.Wait()
	err := context.Cause(ctx)
	if err == nil {
		err = r.settle(ctx) // while incidents are still told
	}
	stopWatch()
	watching.Wait()
	return err
}

// lines is how many lines were written so far.
func (r *run) lines() (n uint64) {
	for _, w := range r.writers {
		n += w.written.Load()
	}
	return n
}

func (r *run) closeWriters() {
	for _, w := range r.writers {
		// Everything was settled, so a fault here has no consequence.
		_ = w.out.Close()
	}
}
