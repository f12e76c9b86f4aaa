//go:build linux

// Command chaos puts a whole tree through faults: 3 roots, 4 relays in 2
// regions and 8 agents as processes, each in a network namespace of its own,
// while numbered lines flow. scripts/chaos.sh builds and calls it.
//
//	chaos ── the same program again, in namespaces of its own (sandbox.go)
//	          ├─ bridge ═ a namespace and a process for each node (network.go, node.go)
//	          ├─ writers: files and syslog, each line with the next number
//	          ├─ watch: what the root has settled, several times a second
//	          ├─ nemeses, one after the other, in an order that the seed decides
//	          └─ account: every invariant, and a table of what was measured
//
// It touches nothing outside its namespaces but its own folder: when it ends,
// however it ends, the kernel takes processes, links, rules and mounts away.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit codes: as those of pando.
const (
	exitOK      = 0
	exitBroken  = 1 // an invariant does not hold
	exitCannot  = 2 // wrong usage, or this machine cannot do it
	leastLength = 10 * time.Second
)

// options are what the command line says.
type options struct {
	pando  string
	length time.Duration
	seed   uint64
	only   []string
	keep   string
	format string
}

func main() {
	if insideSandbox() {
		os.Exit(inner())
	}
	if _, err := parse(os.Args[1:], os.Stderr); err != nil {
		os.Exit(exitCannot)
	}
	os.Exit(enterSandbox())
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(out)
	only := ""
	flags.StringVar(&o.pando, "pando", "", "binary built with -tags chaos (required)")
	flags.DurationVar(&o.length, "for", 3*time.Minute, "how long faults are injected")
	flags.Uint64Var(&o.seed, "seed", 0, "of the order of faults and of their targets (default: drawn, and printed)")
	flags.StringVar(&only, "only", "", "these faults, separated by commas: "+strings.Join(nemesisNames(), ", "))
	flags.StringVar(&o.keep, "keep", "", "folder for configuration, logs and data, which then stays")
	flags.StringVar(&o.format, "o", "table", "format of the result: table or json")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	err := o.check(only, flags.Args())
	if err != nil {
		fmt.Fprintln(out, "chaos:", err)
	}
	return o, err
}

func (o *options) check(only string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no flag", rest[0])
	}
	if o.pando == "" {
		return errors.New("--pando is missing; scripts/chaos.sh gives it")
	}
	if o.length < leastLength {
		return fmt.Errorf("--for %s: give %s or more", o.length, leastLength)
	}
	if o.format != "table" && o.format != "json" {
		return fmt.Errorf("-o %q: give table or json", o.format)
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(nemesisNames(), name) {
			return fmt.Errorf("--only %s: give some of %s", name, strings.Join(nemesisNames(), ", "))
		}
	}
	for o.seed == 0 {
		o.seed = uint64(rand.Uint32())
	}
	return nil
}

// inner is the program inside the sandbox.
func inner() int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		return exitCannot
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitCannot
	}
	dir, err := folder(o.keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return exitCannot
	}
	result, err := run(ctx, o, dir)
	if errors.Is(err, errCannot) || ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "chaos:", errors.Join(err, ctx.Err()))
		discard(o, dir)
		return exitCannot
	}
	if err != nil {
		result.fault("the run did not come to its end: %v", err)
	}
	if err := result.print(os.Stdout, o.format); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if !result.Holds {
		fmt.Fprintf(os.Stderr, "configuration, logs and data are kept in %s\n", dir)
		return exitBroken
	}
	discard(o, dir)
	return exitOK
}

// folder makes the folder that the tree lives in. A relative one is meant from
// where the script was called.
func folder(keep string) (string, error) {
	if keep == "" {
		return os.MkdirTemp("", "pando-chaos.")
	}
	dir, err := filepath.Abs(keep)
	if err != nil {
		return "", err
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
		return "", fmt.Errorf("--keep %s: the folder is not empty", keep)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// discard removes what nobody asked to keep. Small file systems are taken out
// first: a folder that is one cannot be removed.
func discard(o options, dir string) {
	if o.keep != "" {
		return
	}
	for _, p := range places() {
		if p.small {
			_ = syscall.Unmount(filepath.Join(dir, "data", p.name), syscall.MNT_DETACH)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
}
