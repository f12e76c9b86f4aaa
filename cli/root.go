// Package cli is Pando's command line: one command a file, strict YAML turned
// into each role's options, and one table from errors to exit codes.
//
// Data goes to stdout in the format that -o names, diagnostics and logs go to
// stderr, so output can be piped without care. Commands take everything they
// touch from their [env] and keep no global state, so that tests may run many.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Run executes one command line, without the program's name, and returns the
// process's exit code. The context ends commands that run on.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(e)
	// Whatever fails before the command's own function began is a mistake in
	// the command line, by cobra's word or ours.
	var began bool
	onRun(root, func() { began = true })
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !began && !errors.Is(err, errUsage) {
		err = &usageError{err: err, command: cmd.CommandPath()}
	}
	report(stderr, err)
	return exitCode(err)
}

// newRoot wires the commands:
//
//	pando
//	├── agent, relay, root                  a node
//	├── root members|add|remove|…           look at the group of roots, change it
//	├── tree, tap, incident, series         ask a running tree
//	├── pattern apply|list                  put patterns in force, see how they are
//	├── replay, wal inspect|verify|repair   look at a stopped node
//	├── ca init|issue, gossip keygen        make certificates and keys
//	├── detect, pattern check|test          try detectors and patterns on files
//	├── config check, sim, bench relay|tree
//	└── completion, exit-codes, version, demo
func newRoot(e *env) *cobra.Command {
	commands := append(treeCommands(e),
		newAgent(e),
		newCA(e),
		newCompletion(e),
		newConfig(e),
		newDetect(e),
		newExitCodes(e),
		newTap(e),
		newTree(e),
		newVersion(e),
		newWAL(e),
	)
	root := newGroup("pando", "Telemetry from edge to core: what broke, in what order, and who says so", commands...)
	root.Long = `Pando is one binary that runs as a leaf agent, as a regional relay, or as a
Raft-replicated root. Telemetry flows up the tree; what broke, in what order
and on what evidence is asked at its root.

Data goes to stdout, diagnostics to stderr. Exit codes:
` + exitHelp()
	root.SilenceErrors, root.SilenceUsage = true, true
	// Replaced by our own, which has the same flags and help as the rest.
	root.CompletionOptions.DisableDefaultCmd = true
	e.addFlags(root.PersistentFlags())
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return e.check() }
	return root
}

// newGroup returns a command that only holds others: alone it prints its
// help, and a word that is none of its commands is a usage error. (Cobra by
// itself prints help and succeeds, which hides typing errors from scripts.)
func newGroup(use, short string, children ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use:                        use,
		Short:                      short,
		SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := &usageError{
				err:     fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()),
				command: cmd.CommandPath(),
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				err.suggestion = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+near[0])
			}
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(children...)
	return group
}

// onRun calls hook when any command's own function begins.
func onRun(cmd *cobra.Command, hook func()) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			hook()
			return run(c, args)
		}
	}
	for _, child := range cmd.Commands() {
		onRun(child, hook)
	}
}
