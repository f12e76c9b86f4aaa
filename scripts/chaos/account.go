//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// degraded is the exit code of a command that has an answer, and a bad one.
const degraded = 3

// settleLimit is how long the last lines may take, late is when what is
// doubled may still come.
const (
	settleLimit = 60 * time.Second
	late        = 2 * time.Second
)

// pando runs a command of the product and decodes what it prints.
func (c *chaos) command(ctx context.Context, answer any, args ...string) error {
	cmd := exec.CommandContext(ctx, c.pando, append(args, "-o", "json", "--no-color")...)
	cmd.Env = append(os.Environ(), "PANDO_CONTEXT="+filepath.Join(c.dir, contextFile))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) && exit.ExitCode() == degraded && out.Len() > 0 {
		// It has answered, and the answer is judged here.
	} else if err != nil {
		return fmt.Errorf("pando %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return json.Unmarshal(out.Bytes(), answer)
}

// checkIncidents expects none: nothing that was watched failed, it was only
// not heard for a while. Silence is judged from heartbeats, which say that a
// source was read to its end, so a cut is no silence either.
func (c *chaos) checkIncidents(ctx context.Context) {
	var view struct {
		Incidents []struct{ ID, First, Summary string }
	}
	if err := c.command(ctx, &view, "incident", "list"); err != nil {
		c.fault("%v", err)
		return
	}
	c.result.Incidents = len(view.Incidents)
	for _, i := range view.Incidents {
		c.fault("incident %s was opened: %s: %s", i.ID, i.First, i.Summary)
	}
}

// account waits until all is settled and compares it with what was written;
// then it stops the tree and replays every node.
func (c *chaos) account(ctx context.Context) error {
	c.say("the writers have stopped; waiting until all is settled")
	deadline := time.Now().Add(settleLimit)
	for _, s := range c.sources {
		c.watch.await(ctx, s.entity(), s.written.Load(), time.Until(deadline))
	}
	if err := wait(ctx, late); err != nil {
		return err
	}
	if err := c.checkLines(ctx); err != nil {
		return err
	}
	if err := c.checkLedger(ctx); err != nil {
		return err
	}
	c.say("the tree is stopped and replayed")
	c.stopAll()
	c.checkLogs()
	return c.checkReplay(ctx)
}

// checkLines compares count and sum of every source.
func (c *chaos) checkLines(ctx context.Context) error {
	var view struct{ Series []tally }
	if err := c.command(ctx, &view, "series"); err != nil {
		return err
	}
	held := map[string]tally{}
	for _, t := range view.Series {
		if strings.HasPrefix(t.Entity, "chaos/") {
			held[t.Entity] = t
		}
	}
	for _, s := range c.sources {
		lost, doubled := difference(s.written.Load(), held[s.entity()])
		delete(held, s.entity())
		c.result.addLines(s.kind, s.written.Load(), lost, doubled)
		if lost > 0 || doubled > 0 {
			c.fault("%s: of %d lines %d are lost, %d doubled", s.entity(), s.written.Load(), lost, doubled)
		}
	}
	for entity, t := range held {
		c.fault("%s: %d events are settled that nobody wrote", entity, t.Count)
	}
	return nil
}

// difference compares lines 1 to n with what the root holds of them. The same
// count with another sum says that some are lost and as many doubled.
func difference(n uint64, held tally) (lost, doubled uint64) {
	switch {
	case held.Count < n:
		return n - held.Count, 0
	case held.Count > n:
		return 0, held.Count - n
	}
	sum := new(big.Int).SetUint64(n)
	sum.Mul(sum, new(big.Int).SetUint64(n+1)).Rsh(sum, 1)
	if n > 0 && sum.String() != held.SumExact {
		return 1, 1
	}
	return 0, 0
}

// checkLedger expects accepted = settled + held + dropped + unknown for every
// unit, and that nothing was dropped, or is unknown, but by what took an
// agent's disk away.
func (c *chaos) checkLedger(ctx context.Context) error {
	var view struct {
		Accounts []struct {
			Origin, WAL, Lane                         string
			Accepted, Settled, Held, Dropped, Unknown uint64
			Unaccounted                               int64
			Lost                                      []struct {
				Reason string
				Count  uint64
			}
		}
	}
	if err := c.command(ctx, &view, "ledger"); err != nil {
		return err
	}
	l := &c.result.Ledger
	for _, a := range view.Accounts {
		l.Accepted, l.Settled, l.Held, l.Dropped = l.Accepted+a.Accepted, l.Settled+a.Settled, l.Held+a.Held, l.Dropped+a.Dropped
		unit := a.Origin + " " + a.WAL + " " + a.Lane
		l.Unknown += a.Unknown
		if a.Unaccounted != 0 {
			c.fault("ledger: %s: %d events are unaccounted for: accepted %d, settled %d, held %d, dropped %d, unknown %d",
				unit, a.Unaccounted, a.Accepted, a.Settled, a.Held, a.Dropped, a.Unknown)
		}
		if a.Unknown > 0 && !c.robbed[filepath.Base(a.Origin)] {
			c.fault("ledger: %s: %d events are unknown", unit, a.Unknown)
		}
		for _, loss := range a.Lost {
			if loss.Reason != "replaced" || !c.robbed[filepath.Base(a.Origin)] {
				c.fault("ledger: %s: %d events were dropped: %s", unit, loss.Count, loss.Reason)
			}
		}
	}
	return nil
}

// stopAll stops every node, from the leaves up.
func (c *chaos) stopAll() {
	close(c.ending)
	for _, role := range []string{roleAgent, roleRelay, roleRoot} {
		var stops sync.WaitGroup
		for _, n := range c.group(role, "") {
			stops.Go(func() {
				if err := n.stop(); err != nil {
					c.fault("%v", err)
				}
			})
		}
		stops.Wait()
	}
}

// checkLogs looks for what a process says when it dies of itself, and for a
// log that differs from what the tree holds of it where nobody touched a disk.
func (c *chaos) checkLogs() {
	for _, n := range slices.Concat(c.nodes, c.clones) {
		text, err := os.ReadFile(n.log())
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			if alarming(line, c.robbed[n.name] || slices.Contains(c.clones, n), c.robbed) {
				c.fault("%s says: %s", n.name, bytes.TrimSpace(line))
			}
		}
	}
}

// alarming reports whether a line of a log tells of a fault. That content
// diverged does not, if the node, or the child that it speaks of, was robbed.
func alarming(line []byte, robbed bool, all map[string]bool) bool {
	for _, words := range []string{"panic:", "fatal error:", "WARNING: DATA RACE"} {
		if bytes.Contains(line, []byte(words)) {
			return true
		}
	}
	for name := range all {
		robbed = robbed || bytes.Contains(line, []byte("/"+name+" "))
	}
	return !robbed && bytes.Contains(line, []byte("diverged"))
}

// checkReplay steps every node's log again.
func (c *chaos) checkReplay(ctx context.Context) error {
	for _, n := range c.nodes {
		var view struct {
			Records, Hashes uint64
			Identical       bool
			Fault           string
		}
		err := c.command(ctx, &view, "replay", "--role", n.role, n.data())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.fault("%v", err)
			continue
		}
		c.result.Replay.Nodes++
		c.result.Replay.Records += view.Records
		c.result.Replay.Hashes += view.Hashes
		if !view.Identical {
			c.fault("replay of %s differs: %s", n.name, view.Fault)
		}
	}
	return nil
}

// lastLine is the end of a log, for a sentence.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}
