//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// chaos is one run.
type chaos struct {
	options
	dir     string
	net     *network
	nodes   []*node
	clones  []*node
	robbed  map[string]bool // agents whose disk was lost or cloned
	sources []*source
	asker   *asker
	watch   *watch
	rng     *rand.Rand // decides order and targets, and is used by one goroutine
	result  *result
	began   time.Time

	background sync.WaitGroup // goroutines that end with their context
	sentence   sync.Mutex     // one line at a time
	ending     chan struct{}  // closed when nodes may end
	giveUp     context.CancelCauseFunc
}

const (
	upLimit      = 60 * time.Second // for the whole tree to be ready
	recoverLimit = 60 * time.Second // after a fault, until everything is as before
	learning     = 12 * time.Second // until the detectors expect every speaker
	calm         = 500 * time.Millisecond
	// mostFaults is when a run has shown enough, and ends.
	mostFaults = 30
)

// run puts a tree up, injects faults for as long as the options say, and takes
// the account. The result is good for printing also if it returns an error.
func run(ctx context.Context, o options, dir string) (*result, error) {
	c := &chaos{options: o, dir: dir, rng: rand.New(rand.NewPCG(o.seed, 0)),
		result: newResult(o), robbed: map[string]bool{}, began: time.Now(), ending: make(chan struct{})}
	ctx, c.giveUp = context.WithCancelCause(ctx)
	work, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		c.background.Wait()
		for _, n := range c.nodes {
			n.expectEnd()
			n.signal(syscall.SIGKILL)
		}
	}()
	if err := c.plant(ctx); err != nil {
		return c.result, err
	}
	writing, stopWriting := context.WithCancel(work)
	defer stopWriting()
	var writers sync.WaitGroup
	for _, s := range c.sources {
		writers.Go(func() { s.write(writing) })
	}
	c.background.Go(func() { c.watch.run(work) })
	c.background.Go(func() { c.watchVotes(work) })
	c.say("%d sources write %d lines a second each; the detectors learn", len(c.sources), time.Second/beat)
	if err := wait(ctx, learning); err != nil {
		return c.result, err
	}
	if err := c.recovered(ctx); err != nil {
		return c.result, err
	}
	before := c.measure()
	if err := c.inject(ctx); err != nil {
		return c.result, err
	}
	c.checkResources(ctx, before)
	c.checkIncidents(ctx) // before the writers stop, for that is a silence in truth
	stopWriting()
	writers.Wait()
	return c.result, c.account(ctx)
}

// plant makes namespaces, folders and processes, and waits until all is ready.
func (c *chaos) plant(ctx context.Context) error {
	var err error
	if c.net, err = newNetwork(); err != nil {
		return err
	}
	if err := prepare(c.dir, c.pando); err != nil {
		return err
	}
	if c.asker, err = newAsker(c.dir); err != nil {
		return err
	}
	c.watch = newWatch(c.asker, c.fault)
	for _, p := range places() {
		n, err := c.node(p)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
		if p.role != roleAgent {
			continue
		}
		if err := c.write(p); err != nil {
			return err
		}
	}
	if err := c.net.probe(c.nodes[0].space); err != nil {
		return err
	}
	c.result.Links = c.net.means()
	c.say("seed %d; faults on links: %s", c.seed, c.result.Links)
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	c.say("%d processes start, each in a namespace of its own", len(c.nodes))
	return c.allReady(ctx, upLimit)
}

// node makes a node's namespace and folder.
func (c *chaos) node(p place) (*node, error) {
	s, err := c.net.add(p.addr)
	if err != nil {
		return nil, err
	}
	n := &node{place: p, space: s, binary: c.pando, dir: c.dir, ended: c.ended}
	if err := os.MkdirAll(n.data(), 0o700); err != nil {
		return nil, err
	}
	if p.small {
		size := fmt.Sprintf("size=%d", smallDisk)
		if err := syscall.Mount("tmpfs", n.data(), "tmpfs", 0, size); err != nil {
			return nil, fmt.Errorf("%w: mount a small file system: %w", errCannot, err)
		}
	}
	return n, nil
}

// write opens an agent's sources.
func (c *chaos) write(p place) error {
	for _, kind := range []string{kindUrgent, kindBulk} {
		s, err := fileSource(c.dir, p.name, kind)
		if err != nil {
			return err
		}
		c.sources = append(c.sources, s)
	}
	if p.spared {
		c.sources = append(c.sources, syslogSource(p))
	}
	return nil
}

// ended notes a process that ended and was not meant to, and starts it again,
// so that the run can go on.
func (c *chaos) ended(n *node, lived time.Duration, err error) {
	select {
	case <-c.ending:
		return
	default:
	}
	if n.identity != "" {
		return // a clone may be turned away
	}
	c.fault("%s ended by itself: %v: %s", n.name, err, lastLine(n.log()))
	if lived < time.Second {
		c.giveUp(fmt.Errorf("%s does not start", n.name))
		return
	}
	time.Sleep(time.Second)
	if err := n.start(); err != nil {
		c.fault("%v", err)
	}
}

// inject runs the nemeses until the time is over.
func (c *chaos) inject(ctx context.Context) error {
	until := time.Now().Add(c.length)
	var left []nemesis
	for time.Now().Before(until) {
		if len(left) == 0 {
			left = c.chosen()
			c.rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		m := left[0]
		left = left[1:]
		if err := m.run(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if err := c.recovered(ctx); err != nil {
			return fmt.Errorf("after %s: %w", m.name, err)
		}
		if err := wait(ctx, calm); err != nil {
			return err
		}
	}
	return nil
}

// chosen are the nemeses that the options allow.
func (c *chaos) chosen() []nemesis {
	if len(c.only) == 0 {
		return nemeses()
	}
	return slices.DeleteFunc(nemeses(), func(m nemesis) bool { return !slices.Contains(c.only, m.name) })
}

// allReady waits until every node says that it is.
func (c *chaos) allReady(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for _, n := range c.nodes {
		for !n.ready() {
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is not ready after %s: %s", n.name, limit, lastLine(n.log()))
			}
			if err := wait(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// recovered waits until every node is ready and everything that was written so
// far is settled.
func (c *chaos) recovered(ctx context.Context) error {
	if err := c.allReady(ctx, recoverLimit); err != nil {
		return err
	}
	written := make([]uint64, len(c.sources))
	for i, s := range c.sources {
		written[i] = s.written.Load()
	}
	deadline := time.Now().Add(recoverLimit)
	for i, s := range c.sources {
		if !c.watch.await(ctx, s.entity(), written[i], time.Until(deadline)) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s: %d lines were written, %d are settled after %s", s.entity(), written[i], c.watch.count(s.entity()), recoverLimit)
		}
	}
	return nil
}

// say prints a line of progress. What is on stdout is the result.
func (c *chaos) say(format string, args ...any) {
	c.sentence.Lock()
	defer c.sentence.Unlock()
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// fault notes that an invariant does not hold.
func (c *chaos) fault(format string, args ...any) {
	n := c.result.fault(format, args...)
	c.say("FAULT: "+format, args...)
	if n == mostFaults {
		c.giveUp(fmt.Errorf("%d faults are enough", n))
	}
}

// wait sleeps unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
