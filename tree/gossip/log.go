//go:build !zos

package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
)

// logAdapter takes the lines of memberlist's log, "[LEVEL] memberlist: text",
// to slog. It also recognises the lines that say somebody was kept out: the
// library has no other way of telling. A test holds the texts against the
// library's version.
type logAdapter struct {
	logger   *slog.Logger
	refusals *refusals
	closed   atomic.Bool // after the end, failing sockets are no news
}

// refusedLines maps what a line begins with to the reason; the first match
// counts. Without a reason the line repeats what a delegate has counted.
var refusedLines = [...]struct{ prefix, reason string }{
	{"Decrypt packet failed", reasonKey},
	{"failed to receive: no installed keys could decrypt", reasonKey},
	{"failed to receive: encryption is configured but", reasonPlaintext},
	{"discarding packet with unacceptable label", reasonLabel},
	{"discarding stream with unacceptable label", reasonLabel},
	{"failed to receive", reasonMalformed},
	{"Failed to decode", reasonMalformed},
	{"Failed to decompress", reasonMalformed},
	{"Failed to read remote state", reasonMalformed},
	{"Got invalid checksum", reasonMalformed},
	{"missing message type byte", reasonMalformed},
	{"cannot decode label", reasonMalformed},
	{"Rejected node", reasonNetwork},
	{"Rejected IP update", reasonNetwork},
	{"ignoring alive message", ""},
	{"Conflicting address for", ""},
}

// Write implements io.Writer for a log.Logger without flags: one call a line.
func (a *logAdapter) Write(line []byte) (int, error) {
	if a.closed.Load() {
		return len(line), nil
	}
	level, text := splitLevel(strings.TrimSpace(string(line)))
	for _, known := range refusedLines {
		if !strings.HasPrefix(text, known.prefix) {
			continue
		}
		if known.reason != "" {
			a.refusals.note(known.reason, text)
			return len(line), nil
		}
		level = slog.LevelDebug
		break
	}
	a.logger.Log(context.Background(), level, "memberlist", "text", text)
	return len(line), nil
}

// splitLevel cuts the level and the library's name off a line. Its errors
// become warnings: they say that a peer cannot be reached, which costs the
// pool nothing it does not make good.
func splitLevel(line string) (slog.Level, string) {
	level := slog.LevelInfo
	if tag, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(tag, "[") {
		switch tag[1:] {
		case "DEBUG":
			level = slog.LevelDebug
		case "WARN", "ERR", "ERROR":
			level = slog.LevelWarn
		}
		line = rest
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}
