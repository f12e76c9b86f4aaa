//go:build linux

package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// node is one process of the tree. Its methods are called by one goroutine at
// a time, but for what mu guards.
type node struct {
	place
	space  *space
	binary string
	dir    string // of the whole tree
	ended  func(n *node, lived time.Duration, err error)

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil while it does not run
	gone   chan struct{} // closed when cmd has ended
	wanted bool          // that it ends is our doing
}

func (n *node) data() string { return filepath.Join(n.dir, "data", n.name) }
func (n *node) hook() string { return filepath.Join(n.dir, "hooks", n.name) }
func (n *node) log() string  { return filepath.Join(n.dir, "log", n.name+".log") }

// start starts the process. Its output is appended to its log.
func (n *node) start() error {
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(n.binary, n.role, "--config", filepath.Join(n.dir, n.name+".yaml"), "--log-format", "text")
	cmd.Env = append(os.Environ(), "PANDO_CHAOS="+n.hook())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.space.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	began, gone := time.Now(), make(chan struct{})
	n.cmd, n.gone, n.wanted = cmd, gone, false
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		wanted := n.wanted
		n.cmd = nil
		n.mu.Unlock()
		close(gone)
		if !wanted {
			n.ended(n, time.Since(began), err)
		}
	}()
	return nil
}

// signal sends a signal if the process runs.
func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
	}
}

// expectEnd says that the process is about to end on purpose, and returns a
// channel that is closed when it has.
func (n *node) expectEnd() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = true
	return n.gone
}

// kill ends the process at once.
func (n *node) kill() {
	gone := n.expectEnd()
	n.signal(syscall.SIGKILL)
	<-gone
}

// stopLimit is how long a graceful stop may take.
const stopLimit = 30 * time.Second

// stop ends the process gracefully.
func (n *node) stop() error {
	gone := n.expectEnd()
	n.signal(syscall.SIGTERM)
	select {
	case <-gone:
		return nil
	case <-time.After(stopLimit):
		n.kill()
		return fmt.Errorf("%s did not stop within %s", n.name, stopLimit)
	}
}

// wipe removes the node's data, as a lost disk does.
func (n *node) wipe() error {
	names, err := os.ReadDir(n.data())
	if err != nil {
		return err
	}
	for _, entry := range names { // the folder itself may be a file system
		if err := os.RemoveAll(filepath.Join(n.data(), entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fault writes the lines by which the test build does harm to itself.
func (n *node) fault(lines string) error {
	temp := n.hook() + ".new"
	if err := os.WriteFile(temp, []byte(lines), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, n.hook())
}

func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// opsClient asks for health and metrics: a node that hangs must not hang us.
var opsClient = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ready tells whether /readyz is 200.
func (n *node) ready() bool {
	resp, err := opsClient.Get("http://" + n.addr + ":" + portOps + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
