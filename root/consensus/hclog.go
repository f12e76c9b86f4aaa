//go:build !zos

package consensus

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// slogAdapter lets hashicorp's libraries log through slog. Levels map one to
// one, with hclog's trace below slog's debug.
type slogAdapter struct {
	log  *slog.Logger
	name string
	args []any
}

const levelTrace = slog.LevelDebug - 4

func newHCLog(l *slog.Logger) hclog.Logger { return &slogAdapter{log: l, name: "raft"} }

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace:
		return levelTrace
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	}
	return slog.LevelInfo
}

func (a *slogAdapter) Log(level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if !a.log.Enabled(context.Background(), l) {
		return
	}
	// hclog.Fmt values are a format and its arguments in one slice.
	plain := make([]any, len(args))
	for i, v := range args {
		if f, ok := v.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				v = fmt.Sprintf(format, f[1:]...)
			}
		}
		plain[i] = v
	}
	a.log.Log(context.Background(), l, a.name+": "+msg, plain...)
}

func (a *slogAdapter) Trace(msg string, args ...any) { a.Log(hclog.Trace, msg, args...) }
func (a *slogAdapter) Debug(msg string, args ...any) { a.Log(hclog.Debug, msg, args...) }
func (a *slogAdapter) Info(msg string, args ...any)  { a.Log(hclog.Info, msg, args...) }
func (a *slogAdapter) Warn(msg string, args ...any)  { a.Log(hclog.Warn, msg, args...) }
func (a *slogAdapter) Error(msg string, args ...any) { a.Log(hclog.Error, msg, args...) }

func (a *slogAdapter) enabled(l hclog.Level) bool {
	return a.log.Enabled(context.Background(), slogLevel(l))
}

func (a *slogAdapter) IsTrace() bool { return a.enabled(hclog.Trace) }
func (a *slogAdapter) IsDebug() bool { return a.enabled(hclog.Debug) }
func (a *slogAdapter) IsInfo() bool  { return a.enabled(hclog.Info) }
func (a *slogAdapter) IsWarn() bool  { return a.enabled(hclog.Warn) }
func (a *slogAdapter) IsError() bool { return a.enabled(hclog.Error) }

func (a *slogAdapter) ImpliedArgs() []any { return a.args }
func (a *slogAdapter) Name() string       { return a.name }

func (a *slogAdapter) With(args ...any) hclog.Logger {
	return &slogAdapter{log: a.log.With(args...), name: a.name, args: append(append([]any{}, a.args...), args...)}
}

func (a *slogAdapter) Named(name string) hclog.Logger { return a.ResetNamed(a.name + "." + name) }

func (a *slogAdapter) ResetNamed(name string) hclog.Logger {
	return &slogAdapter{log: a.log, name: name, args: a.args}
}

// SetLevel does nothing: the level belongs to the slog handler.
func (a *slogAdapter) SetLevel(hclog.Level) {}

func (a *slogAdapter) GetLevel() hclog.Level {
	for _, l := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn} {
		if a.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

func (a *slogAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(a.StandardWriter(nil), "", 0)
}

func (a *slogAdapter) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return lineWriter{a}
}

// lineWriter logs each write as one message.
type lineWriter struct{ to *slogAdapter }

func (w lineWriter) Write(p []byte) (int, error) {
	w.to.Info(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}
