//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// insideVariable tells the program that it is the one inside.
const insideVariable = "PANDO_CHAOS_INSIDE"

func insideSandbox() bool { return os.Getenv(insideVariable) != "" }

// enterSandbox runs this program again with network, mounts and process ids of
// its own, and returns its exit code. Its first process is the program: when
// that ends, the kernel kills every node, and with the last process go the
// namespaces and all that was made in them. So nothing has to be cleaned up by
// hand, not even after SIGKILL.
func enterSandbox() int {
	runtime.LockOSThread() // Pdeathsig is bound to the thread that started the child
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // Ctrl-C reaches it through us, and its nodes not at all
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "chaos: no namespaces can be made here: %v\n", err)
		return exitCannot
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case err := <-done:
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() >= 0 {
				return exit.ExitCode()
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "chaos:", err)
				return exitBroken
			}
			return exitOK
		}
	}
}

// furnish gives the sandbox its own /proc, and keeps its mounts from reaching
// the machine's.
func furnish() error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}
