//go:build linux

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// nemesis is one kind of fault. It returns when the harm is undone and what
// was written since is settled; its error ends the run, since the tree is not
// what the next one expects.
type nemesis struct {
	name string
	run  func(ctx context.Context, c *chaos) error
}

// nemeses are all kinds, in the order of the table.
func nemeses() []nemesis {
	return []nemesis{
		{"leader-kill", leaderKill},
		{"leader-host-loss", leaderHostLoss},
		{"leader-disk-stall", leaderStall},
		{"leader-disk-error", leaderError},
		{"follower-pause", followerPause},
		{"majority-loss", majorityLoss},
		{"relay-loss", relayLoss},
		{"agent-disk-loss", agentDiskLoss},
		{"agent-clone", agentClone},
		{"region-cut", regionCut},
		{"one-way-cut", oneWayCut},
		{"slow-relay", slowRelay},
		{"slow-link", slowLink},
		{"lossy-link", lossyLink},
		{"clock-jump", clockJump},
		{"agent-disk-full", agentDiskFull},
		{"relay-disk-full", relayDiskFull},
		{"rolling-restart", rollingRestart},
	}
}

func nemesisNames() []string {
	var names []string
	for _, m := range nemeses() {
		names = append(names, m.name)
	}
	return names
}

const (
	down = 3 * time.Second // how long a node stays away
	hold = 5 * time.Second // how long another fault lasts
	// pauseFor is longer than a write of a root may take: a process that was
	// stopped must not mistake that for a disk that hangs.
	pauseFor = 6 * time.Second
	// exitLimit is how long a root may go on without its disk: a write may
	// take 5 s, and what hangs in it is waited for another 2.
	exitLimit = 10 * time.Second
)

func leaderKill(ctx context.Context, c *chaos) error {
	leader, _, err := c.roots(ctx)
	if err != nil {
		return err
	}
	s, err := c.strike(ctx, "leader-kill", fmt.Sprintf("kill -9 %s (leader)", leader.name), c.all(), func() error {
		leader.kill()
		return nil
	})
	if err != nil {
		return err
	}
	return s.back(ctx, down, leader)
}

// vanish ends a node as a lost host does: its kernel closes no connection, so
// that the others have to notice by themselves.
func (n *node) vanish() error {
	err := n.space.cut("0.0.0.0/0", true, true)
	n.kill()
	return err
}

func leaderHostLoss(ctx context.Context, c *chaos) error {
	leader, _, err := c.roots(ctx)
	if err != nil {
		return err
	}
	s, err := c.strike(ctx, "leader-host-loss", fmt.Sprintf("the host of %s (leader) is gone", leader.name), c.all(), leader.vanish)
	if err != nil {
		return err
	}
	return s.back(ctx, down, leader)
}

// back starts nodes again after a while, and waits for what was measured.
func (s *strike) back(ctx context.Context, after time.Duration, nodes ...*node) error {
	if err := wait(ctx, after); err != nil {
		return err
	}
	for _, n := range nodes {
		n.space.heal()
		if err := n.start(); err != nil {
			return err
		}
		s.c.say("%s is started again", n.name)
	}
	s.over()
	s.settled()
	return nil
}

// healed undoes a fault after a while, and waits for what was measured.
func (s *strike) healed(ctx context.Context, after time.Duration, undo func() error) error {
	waited := wait(ctx, after)
	if err := undo(); err != nil {
		return err
	}
	s.over()
	if waited != nil {
		return waited
	}
	s.settled()
	return nil
}

func leaderStall(ctx context.Context, c *chaos) error { return leaderDisk(ctx, c, "stall") }

func leaderError(ctx context.Context, c *chaos) error { return leaderDisk(ctx, c, "fail") }

// leaderDisk makes the leader's disk hang or fail. Raft alone would go on
// heartbeating, so the process must end by itself for another to lead.
func leaderDisk(ctx context.Context, c *chaos, how string) error {
	leader, _, err := c.roots(ctx)
	if err != nil {
		return err
	}
	name, text := "leader-disk-stall", "hangs"
	if how == "fail" {
		name, text = "leader-disk-error", "fails"
	}
	began, gone := time.Now(), leader.expectEnd()
	s, err := c.strike(ctx, name, fmt.Sprintf("the disk of %s (leader) %s", leader.name, text), c.all(), func() error {
		return leader.fault("disk " + how)
	})
	if err != nil {
		return err
	}
	select {
	case <-gone:
		c.say("%s ended by itself after %s, as it must", leader.name, seconds(time.Since(began)))
	case <-time.After(exitLimit):
		c.fault("%s: %s did not end within %s; what it waits for is in its log", name, leader.name, exitLimit)
		leader.signal(syscall.SIGQUIT)
		<-gone
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := leader.fault(""); err != nil {
		return err
	}
	return s.back(ctx, 0, leader)
}

func followerPause(ctx context.Context, c *chaos) error {
	_, followers, err := c.roots(ctx)
	if err != nil {
		return err
	}
	f := pick(c, followers)
	s, err := c.strike(ctx, "follower-pause", fmt.Sprintf("SIGSTOP %s (follower)", f.name), c.all(), func() error {
		f.signal(syscall.SIGSTOP)
		return nil
	})
	if err != nil {
		return err
	}
	return s.healed(ctx, pauseFor, func() error { f.signal(syscall.SIGCONT); return nil })
}

func majorityLoss(ctx context.Context, c *chaos) error {
	roots := c.group(roleRoot, "")
	c.rng.Shuffle(len(roots), func(i, j int) { roots[i], roots[j] = roots[j], roots[i] })
	lost := roots[:2]
	s, err := c.strike(ctx, "majority-loss", fmt.Sprintf("kill -9 %s and %s", lost[0].name, lost[1].name), c.all(), func() error {
		lost[0].kill()
		lost[1].kill()
		return nil
	})
	if err != nil {
		return err
	}
	dead := time.Now()
	if err := wait(ctx, down); err != nil {
		return err
	}
	if c.watch.servedAfter(dead) {
		c.fault("majority-loss: one root of three serves linearizable reads")
	}
	return s.back(ctx, 0, lost...)
}

// relayLoss takes a relay and its disk for good. Later a new one with an empty
// folder has its name, so that the run can go on.
func relayLoss(ctx context.Context, c *chaos) error {
	relay, sources, err := c.busy(ctx, c.group(roleRelay, ""))
	if err != nil {
		return err
	}
	s, err := c.strike(ctx, "relay-loss", fmt.Sprintf("the host of %s with %d agents is gone, and its disk", relay.name, len(sources)), sources, relay.vanish)
	if err != nil {
		return err
	}
	if err := relay.wipe(); err != nil {
		return err
	}
	return s.back(ctx, hold, relay)
}

// slowRelay stops a relay for 300 ms of each 600: below the half second after
// which a silent peer counts as dead.
func slowRelay(ctx context.Context, c *chaos) error {
	relay, sources, err := c.busy(ctx, c.group(roleRelay, ""))
	if err != nil {
		return err
	}
	const part = 300 * time.Millisecond
	s, err := c.strike(ctx, "slow-relay", fmt.Sprintf("%s runs 300 ms of each 600, with %d agents", relay.name, len(sources)), sources, func() error {
		relay.signal(syscall.SIGSTOP)
		return nil
	})
	if err != nil {
		return err
	}
	for until := time.Now().Add(hold); time.Now().Before(until); {
		if err = wait(ctx, part); err != nil {
			break
		}
		relay.signal(syscall.SIGCONT)
		if err = wait(ctx, part); err != nil {
			break
		}
		relay.signal(syscall.SIGSTOP)
	}
	return s.healed(ctx, 0, func() error { relay.signal(syscall.SIGCONT); return err })
}
