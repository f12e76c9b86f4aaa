//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func agentDiskLoss(ctx context.Context, c *chaos) error {
	a := c.victim()
	c.robbed[a.name] = true
	s, err := c.strike(ctx, "agent-disk-loss", fmt.Sprintf("kill -9 %s, its disk is gone", a.name), c.sourcesOf(a), func() error {
		a.kill()
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.wipe(); err != nil {
		return err
	}
	return s.back(ctx, time.Second, a)
}

// agentClone runs a second process from a copy of an agent's folder, under the
// same certificate, on another host.
func agentClone(ctx context.Context, c *chaos) error {
	a := c.victim()
	c.robbed[a.name] = true
	p := clonePlace(a.place)
	clone, err := c.cloneOf(a, p)
	if err != nil {
		return err
	}
	s, err := c.strike(ctx, "agent-clone", fmt.Sprintf("%s runs twice, the second from a copy of its folder", a.name), c.sourcesOf(a), func() error {
		a.signal(syscall.SIGSTOP) // so that the copy is of one moment
		err := os.CopyFS(clone.data(), os.DirFS(a.data()))
		a.signal(syscall.SIGCONT)
		return errors.Join(err, clone.start())
	})
	if err != nil {
		return err
	}
	return s.healed(ctx, hold, func() error {
		if clone.pid() != 0 {
			clone.kill()
		}
		return clone.wipe()
	})
}

// cloneOf prepares a clone. A region's host for clones is made when it is
// first needed.
func (c *chaos) cloneOf(a *node, p place) (*node, error) {
	i := slices.IndexFunc(c.clones, func(n *node) bool { return n.name == p.name })
	if i < 0 {
		n, err := c.node(p)
		if err != nil {
			return nil, err
		}
		c.clones = append(c.clones, n)
		i = len(c.clones) - 1
	}
	clone := c.clones[i]
	clone.place = p
	return clone, os.WriteFile(filepath.Join(c.dir, p.name+".yaml"), []byte(p.config()), 0o644)
}

// fat is how long lines are while a disk is full: so that the room that a log
// has already taken is used up within seconds.
const fat = 8 << 10

func agentDiskFull(ctx context.Context, c *chaos) error {
	a := pick(c, slices.DeleteFunc(c.group(roleAgent, ""), func(n *node) bool { return !n.small }))
	return diskFull(ctx, c, "agent-disk-full", a, c.sourcesOf(a))
}

func relayDiskFull(ctx context.Context, c *chaos) error {
	r, sources, err := c.busy(ctx, slices.DeleteFunc(c.group(roleRelay, ""), func(n *node) bool { return !n.small }))
	if err != nil {
		return err
	}
	return diskFull(ctx, c, "relay-disk-full", r, sources)
}

// diskFull fills a node's file system, and makes lines long until its log has
// no room left.
func diskFull(ctx context.Context, c *chaos, name string, n *node, sources []*source) error {
	ballast := filepath.Join(n.data(), "ballast")
	s, err := c.strike(ctx, name, fmt.Sprintf("the disk of %s is full", n.name), sources, func() error { return fill(ballast) })
	if err != nil {
		return err
	}
	pad := func(bytes int64) {
		for _, src := range c.sources {
			if slices.ContainsFunc(sources, func(of *source) bool { return of.agent == src.agent }) {
				src.pad.Store(bytes)
			}
		}
	}
	pad(fat)
	full := c.awaitFull(ctx, n)
	pad(0)
	if full {
		c.say("the log of %s has no room", n.name)
	} else {
		c.say("the log of %s had room enough", n.name)
	}
	return s.healed(ctx, down, func() error { return os.Remove(ballast) })
}

// awaitFull waits until a node says that its log is full.
func (c *chaos) awaitFull(ctx context.Context, n *node) bool {
	for until := time.Now().Add(2 * hold); time.Now().Before(until); {
		if m, err := n.metrics(); err == nil && m["pando_wal_full"] > 0 {
			return true
		}
		if wait(ctx, 200*time.Millisecond) != nil {
			break
		}
	}
	return false
}

// fill writes a file until its file system is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, zeros{}, smallDisk)
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
