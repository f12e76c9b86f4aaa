package cli

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"

	"pando/internal/ops"
)

// env is what a command touches of the world: its streams, and the flags that
// all commands share. A command's constructor gets it before flags are parsed
// and must read it only when it runs.
type env struct {
	stdin  io.Reader
	stdout io.Writer // data
	stderr io.Writer // diagnostics and logs

	output    outputFormat
	noColor   bool
	logLevel  slog.Level
	logFormat ops.LogFormat

	outputFlag, levelFlag, formatFlag string // as typed; see check
}

func (e *env) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&e.outputFlag, "output", "o", string(outputTable), "output format: table, json or yaml")
	flags.BoolVar(&e.noColor, "no-color", false, "no colours (as if NO_COLOR were set)")
	flags.StringVar(&e.levelFlag, "log-level", "info", "least level that is logged: debug, info, warn or error")
	flags.StringVar(&e.formatFlag, "log-format", string(ops.LogAuto), "log format: auto (text on a terminal, else json), text or json")
}

// check turns the shared flags into values, or says which one is wrong.
func (e *env) check() error {
	var err error
	if e.output, err = parseOutput(e.outputFlag); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if err := e.logLevel.UnmarshalText([]byte(e.levelFlag)); err != nil {
		return fmt.Errorf("--log-level: %q: want debug, info, warn or error", e.levelFlag)
	}
	if e.logFormat, err = ops.ParseLogFormat(e.formatFlag); err != nil {
		return fmt.Errorf("--log-format: %w", err)
	}
	e.noColor = e.noColor || ops.NoColorWanted()
	return nil
}

// logger returns a logger on stderr as the flags ask for.
func (e *env) logger() (*slog.Logger, error) {
	return ops.NewLogger(ops.LogOptions{
		Writer: e.stderr, Level: e.logLevel, Format: e.logFormat, NoColor: e.noColor,
	})
}
