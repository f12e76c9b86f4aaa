package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"pando/tree/journal"
	"pando/wal"
)

// Exit codes are an interface: scripts and monitoring decide by them.
const (
	exitOK        = 0
	exitFailure   = 1
	exitUsage     = 2
	exitDegraded  = 3
	exitIntegrity = 4
)

var (
	// errUsage: the command line or a configuration file must be changed.
	errUsage = errors.New("usage")
	// errDegraded: the command did its work, and what it looked at is not
	// well, such as a tree that lacks a node.
	errDegraded = errors.New("degraded")
	// errDamaged: a file does not hold what was written into it.
	errDamaged = errors.New("damaged")
	// errDiffers: a replay said something else than what is recorded.
	errDiffers = errors.New("the replay differs from what was recorded")
)

// exitRule gives the exit code of errors that wrap Err.
type exitRule struct {
	err  error
	code int
}

// exitRules is the table from errors to exit codes; the first match counts,
// so the gravest stand first. What is not listed is a failure.
func exitRules() []exitRule {
	return []exitRule{
		{wal.ErrCorrupt, exitIntegrity},
		{journal.ErrDiverged, exitIntegrity},
		{errDiffers, exitIntegrity},
		{errDamaged, exitIntegrity},
		{errDegraded, exitDegraded},
		{errUsage, exitUsage},
	}
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	for _, rule := range exitRules() {
		if errors.Is(err, rule.err) {
			return rule.code
		}
	}
	return exitFailure
}

func exitHelp() string {
	return fmt.Sprintf(`  %d  success
  %d  failure
  %d  the command line, a configuration file or the program's version is wrong
  %d  degraded: it works, but not all of it
  %d  stored data is damaged, or a replay of it differs`, exitOK, exitFailure, exitUsage, exitDegraded, exitIntegrity)
}

// hinter is an error that knows what the operator can do about it.
type hinter interface{ Hint() string }

// report prints an error, and its hint if it has one, for people.
func report(w io.Writer, err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(w, "pando: %s\n", printable(err.Error(), true))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", printable(hint, false))
	}
}

// hintOf is an error's advice, or empty.
func hintOf(err error) string {
	var h hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// usageError is a mistake in the command line. It wraps errUsage.
type usageError struct {
	err        error
	command    string // the command that was meant, as far as that is known
	suggestion string // what was probably meant, or empty
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() []error { return []error{errUsage, e.err} }

func (e *usageError) Hint() string {
	if e.suggestion != "" {
		return e.suggestion
	}
	return fmt.Sprintf("see %q", e.command+" --help")
}

// hinted adds advice to an error.
type hinted struct {
	error
	hint string
}

// withHint returns err with advice for the operator, or nil if err is nil.
func withHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{error: err, hint: fmt.Sprintf(format, args...)}
}

func (h *hinted) Unwrap() error { return h.error }

func (h *hinted) Hint() string { return h.hint }

// printable makes text that others wrote safe for a terminal: control
// characters, which could move the cursor or hide lines, become visible
// escapes. Line breaks stay where the caller lays out lines itself.
func printable(s string, keepLines bool) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !isControl(r), keepLines && r == '\n', keepLines && r == '\t':
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isControl holds for C0, DEL and C1 characters, line separators and the
// marks that change the direction of writing.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
