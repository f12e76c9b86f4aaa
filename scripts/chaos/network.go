//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// errCannot says that this machine has not what the test needs.
var errCannot = errors.New("this cannot run here")

const (
	bridge    = "pando"
	driverIP  = "10.77.255.254" // the driver's, on the bridge
	prefixLen = "/16"
)

// network joins the nodes' namespaces by a bridge in the driver's.
type network struct {
	netem bool // the kernel can delay and lose by tc
	links int
}

// newNetwork makes the bridge.
func newNetwork() (*network, error) {
	err := errors.Join(
		tool("ip", "link", "set", "lo", "up"),
		tool("ip", "link", "add", bridge, "type", "bridge"),
		tool("ip", "addr", "add", driverIP+prefixLen, "dev", bridge),
		tool("ip", "link", "set", bridge, "up"),
	)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCannot, err)
	}
	return &network{}, nil
}

// space is a node's network namespace.
type space struct {
	addr string
	ns   *os.File // keeps the namespace alive
}

// add makes a namespace with one address and joins it to the bridge.
func (n *network) add(addr string) (*space, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("%w: network namespace: %w", errCannot, err)
	}
	s := &space{addr: addr, ns: ns}
	n.links++
	outer := fmt.Sprintf("node%d", n.links)
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	err = errors.Join(
		tool("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", path),
		tool("ip", "link", "set", outer, "master", bridge, "up"),
		s.tool("ip", "link", "set", "lo", "up"),
		s.tool("ip", "addr", "add", addr+prefixLen, "dev", "eth0"),
		s.tool("ip", "link", "set", "eth0", "up"),
	)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCannot, err)
	}
	return s, nil
}

// probe finds out what the kernel has for faults on links.
func (n *network) probe(s *space) error {
	n.netem = s.tool("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms") == nil
	if !n.netem {
		if err := s.slow(n); err != nil {
			return fmt.Errorf("%w: tc has neither netem nor tbf: %w", errCannot, err)
		}
	}
	if err := s.cut(s.addr, true, true); err != nil {
		return fmt.Errorf("%w: %w", errCannot, err)
	}
	s.heal()
	return nil
}

// means says in a line what faults on links are made of.
func (n *network) means() string {
	if n.netem {
		return "tc netem (delay, loss), nft (cuts)"
	}
	return "tc tbf (rate; this kernel has no netem, so delay is not available here), nft (cuts, loss)"
}

// newNamespace makes an empty one on a thread that ends with it.
func newNamespace() (*os.File, error) {
	type result struct {
		ns  *os.File
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			made <- result{nil, err}
			return
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		made <- result{ns, err}
	}()
	r := <-made
	return r.ns, r.err
}

// start starts a command in the namespace.
func (s *space) start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // as in newNamespace
		if err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			started <- err
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

// tool runs a command in the namespace.
func (s *space) tool(name string, args ...string) error {
	return told(exec.Command(name, args...), s.start)
}

// tool runs a command in the driver's namespace.
func tool(name string, args ...string) error {
	return told(exec.Command(name, args...), (*exec.Cmd).Start)
}

func told(cmd *exec.Cmd, start func(*exec.Cmd) error) error {
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err := start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// rules puts a table of nft into the namespace in place of an earlier one.
func (s *space) rules(in, out string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`table inet chaos {
	chain in {
		type filter hook input priority 0
		%s
	}
	chain out {
		type filter hook output priority 0
		%s
	}
}
`, in, out))
	return told(cmd, s.start)
}

// cut drops packets from, to, or from and to the addresses of a prefix.
func (s *space) cut(prefix string, from, to bool) error {
	in, out := "", ""
	if from {
		in = "ip saddr " + prefix + " drop"
	}
	if to {
		out = "ip daddr " + prefix + " drop"
	}
	return s.rules(in, out)
}

// lose drops some of the packets in both directions. The driver's own, which
// measures, are spared.
func (s *space) lose(n *network, percent int) error {
	if n.netem {
		return s.tool("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "loss", fmt.Sprintf("%d%%", percent))
	}
	drop := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	return s.rules("ip saddr != "+driverIP+" "+drop, "ip daddr != "+driverIP+" "+drop)
}

// slow makes what leaves the node slow: by delay, or by rate.
func (s *space) slow(n *network) error {
	args := []string{"qdisc", "add", "dev", "eth0", "root"}
	if n.netem {
		args = append(args, "netem", "delay", "150ms", "30ms")
	} else {
		args = append(args, "tbf", "rate", "64kbit", "burst", "4kb", "latency", "500ms")
	}
	return s.tool("tc", args...)
}

// heal takes every fault off the node's link. That there is none is no error.
func (s *space) heal() {
	_ = s.tool("nft", "delete", "table", "inet", "chaos")
	_ = s.tool("tc", "qdisc", "del", "dev", "eth0", "root")
}
