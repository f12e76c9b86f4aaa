//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// clockJump moves the wall clocks of the leader, a relay and an agent by ten
// minutes, each forwards or backwards, and later back.
func clockJump(ctx context.Context, c *chaos) error {
	leader, _, err := c.roots(ctx)
	if err != nil {
		return err
	}
	nodes := []*node{leader, pick(c, c.group(roleRelay, "")), pick(c, c.group(roleAgent, ""))}
	var words []string
	jumps := map[*node]string{}
	for _, n := range nodes {
		jumps[n] = pick(c, []string{"+10m", "-10m"})
		words = append(words, n.name+" "+jumps[n])
	}
	s, err := c.strike(ctx, "clock-jump", "clocks jump: "+strings.Join(words, ", "), c.all(), func() error {
		var errs []error
		for _, n := range nodes {
			errs = append(errs, n.fault("clock "+jumps[n]))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	return s.healed(ctx, hold, func() error {
		var errs []error
		for _, n := range nodes {
			errs = append(errs, n.fault(""))
		}
		return errors.Join(errs...)
	})
}

// rollingRestart stops every node gracefully and starts it again, one after
// the other under load, as an upgrade does: leaves first, the leader last.
func rollingRestart(ctx context.Context, c *chaos) error {
	c.say("every node is restarted in turn")
	leader, followers, err := c.roots(ctx)
	if err != nil {
		return err
	}
	turn := slices.Concat(c.group(roleAgent, ""), c.group(roleRelay, ""), followers, []*node{leader})
	for _, n := range turn {
		if err := c.restart(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// restart stops one node gracefully and starts it again. A sender of syslog
// pauses meanwhile and has been heard before: its protocol acknowledges
// nothing.
func (c *chaos) restart(ctx context.Context, n *node) error {
	sources, err := c.concerned(ctx, n)
	if err != nil {
		return err
	}
	for _, s := range c.sources {
		if s.agent == n.name && s.kind == kindSyslog {
			s.pause()
			defer s.resume()
			if !c.watch.await(ctx, s.entity(), s.written.Load(), recoverLimit) {
				return fmt.Errorf("%s: its last lines did not settle within %s", s.entity(), recoverLimit)
			}
		}
	}
	s, err := c.strike(ctx, "rolling-restart", "restart "+n.name, sources, n.stop)
	if err != nil {
		return err
	}
	if err := s.back(ctx, 0, n); err != nil {
		return err
	}
	for until := time.Now().Add(recoverLimit); !n.ready(); {
		if time.Now().After(until) {
			return fmt.Errorf("%s is not ready after %s: %s", n.name, recoverLimit, lastLine(n.log()))
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
