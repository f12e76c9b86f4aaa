package ops

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/term"
)

// LogFormat is how log records are written.
type LogFormat string

const (
	LogAuto LogFormat = "auto" // text on a terminal, JSON otherwise
	LogText LogFormat = "text" // one line for the human eye
	LogJSON LogFormat = "json" // one JSON object a line, for collectors
)

// ParseLogFormat reads a format's name.
func ParseLogFormat(name string) (LogFormat, error) {
	switch f := LogFormat(name); f {
	case LogAuto, LogText, LogJSON:
		return f, nil
	}
	return "", fmt.Errorf("log format %q: want auto, text or json", name)
}

// LogOptions say where log records go and what they look like.
type LogOptions struct {
	Writer  io.Writer    // required
	Level   slog.Leveler // nil: info; a *slog.LevelVar can be changed while running
	Format  LogFormat    // empty: LogAuto
	NoColor bool         // no colours, even on a terminal
}

// NewLogger returns a logger that writes as the options say. Colours appear
// only in text on a terminal, and never when NO_COLOR is set to anything
// (https://no-color.org). The logger is safe for concurrent use.
func NewLogger(opts LogOptions) (*slog.Logger, error) {
	if opts.Writer == nil {
		return nil, fmt.Errorf("new logger: no writer")
	}
	level := opts.Level
	if level == nil {
		level = slog.LevelInfo
	}
	terminal := IsTerminal(opts.Writer)
	format := opts.Format
	if format == "" || format == LogAuto {
		format = LogJSON
		if terminal {
			format = LogText
		}
	}
	switch format {
	case LogJSON:
		return slog.New(slog.NewJSONHandler(opts.Writer, &slog.HandlerOptions{Level: level})), nil
	case LogText:
		return slog.New(newTextHandler(opts.Writer, level, terminal && !opts.NoColor && !NoColorWanted())), nil
	}
	_, err := ParseLogFormat(string(format))
	return nil, fmt.Errorf("new logger: %w", err)
}

// IsTerminal tells whether w is a terminal that a person looks at.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// NoColorWanted tells whether the environment asks for output without colour.
func NoColorWanted() bool {
	return os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
}

// textHandler writes "15:04:05.000 INFO  message key=value". The standard
// text handler renders the attributes, so quoting and groups are its.
type textHandler struct {
	level slog.Leveler
	color bool
	attrs slog.Handler // writes into out.buf
	out   *textOutput
}

// textOutput is shared by a handler and all that are derived from it.
type textOutput struct {
	mu  sync.Mutex // guards buf, and w against mixed lines
	w   io.Writer
	buf bytes.Buffer
}

func newTextHandler(w io.Writer, level slog.Leveler, color bool) *textHandler {
	out := &textOutput{w: w}
	attrs := slog.NewTextHandler(&out.buf, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return &textHandler{level: level, color: color, attrs: attrs, out: out}
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{level: h.level, color: h.color, attrs: h.attrs.WithAttrs(attrs), out: h.out}
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{level: h.level, color: h.color, attrs: h.attrs.WithGroup(name), out: h.out}
}

func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	buf := &h.out.buf
	buf.Reset()
	if !r.Time.IsZero() {
		buf.WriteString(r.Time.Format("15:04:05.000 "))
	}
	if c := levelColor(r.Level); h.color && c != "" {
		fmt.Fprintf(buf, "%s%-5s\x1b[0m %s", c, r.Level, r.Message)
	} else {
		fmt.Fprintf(buf, "%-5s %s", r.Level, r.Message)
	}
	head := buf.Len()
	buf.WriteByte(' ')
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	line := buf.Bytes()
	if len(line) == head+2 { // no attributes: only the space and the newline
		line = append(line[:head], '\n')
	}
	_, err := h.out.w.Write(line)
	return err
}

func levelColor(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "\x1b[31m" // red
	case l >= slog.LevelWarn:
		return "\x1b[33m" // yellow
	case l < slog.LevelInfo:
		return "\x1b[2m" // faint
	}
	return ""
}
