package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"pando/wal"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pando": func() {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) // as main does
			code := Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
	})
}

// The scripts see what a user sees: the command line, both streams, the exit
// code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"mklog": mklog,
			"flip":  flip,
		},
		// Under the race detector each process sleeps a second before it ends,
		// unless told otherwise.
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		RequireExplicitExec: true,
	})
}

// exits CODE COMMAND... runs a command and demands its exit code, which the
// exec command cannot.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var failed interface{ ExitCode() int }
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// mklog DIR makes a log with a few records, closed cleanly.
func mklog(ts *testscript.TestScript, _ bool, args []string) {
	opts := wal.DefaultOptions(ts.MkAbs(args[0]))
	opts.SegmentBytes = 1 << 20 // the usual 64 MiB would only be filled with zeros
	log, _, err := wal.Open(opts)
	ts.Check(err)
	for range 3 {
		_, err := log.Append(bytes.Repeat([]byte("pando"), 20), true)
		ts.Check(err)
	}
	ts.Check(log.Wait(context.Background(), log.Last()))
	ts.Check(log.Close())
}

// flip FILE TEXT changes one bit of the first TEXT in a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at := bytes.Index(data, []byte(args[1]))
	if at < 0 {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	data[at] ^= 1
	ts.Check(os.WriteFile(path, data, 0o600))
}

func TestEveryCommandIsDocumented(t *testing.T) {
	e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if !c.Hidden && !c.HasSubCommands() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: no example", c.CommandPath())
		}
		if c.Args == nil || c.RunE == nil {
			t.Errorf("%s: needs Args and RunE", c.CommandPath())
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(newRoot(e))
}

func TestExitCodes(t *testing.T) {
	cases := []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.New("any"), 1},
		{&usageError{err: errors.New("flag")}, 2},
		{fmt.Errorf("tree: %w", errDegraded), 3},
		{fmt.Errorf("open: %w", &wal.CorruptError{}), 4},
		{errors.Join(errDegraded, wal.ErrCorrupt), 4},
	}
	for _, tc := range cases {
		if got := exitCode(tc.err); got != tc.code {
			t.Errorf("%v: %d, want %d", tc.err, got, tc.code)
		}
	}
}
