package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pando/agent/input"
	"pando/internal/durable"
)

// signals is a sink that keeps them.
type signals struct {
	mu   sync.Mutex
	list []string
}

func (s *signals) Put(_ context.Context, items []input.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range items {
		s.list = append(s.list, items[i].Event.Signal)
	}
	return nil
}

func (s *signals) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// reads runs a source over lines, with the templates that an agent keeps for
// it, and returns their signals.
func reads(t *testing.T, kept *templates, similarity int, lines ...string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := input.Spec{Name: "app", Type: input.TypeTail, Path: path, Template: &input.TemplateSpec{Similarity: similarity}}
	mined, err := kept.of(&spec)
	if err != nil {
		t.Fatal(err)
	}
	var sink signals
	start := time.Now()
	source, err := input.New(input.Options{Spec: spec, Sink: &sink, Templates: mined, Clock: func() int64 { return int64(time.Since(start)) + 1 }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	for len(sink.taken()) < len(lines) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return sink.taken()
}

// A known kind of line has the same signal after a reload and after a restart,
// whichever of its values comes first then; without its file it looks new.
func TestTemplatesOutliveReloadAndRestart(t *testing.T) {
	dir := t.TempDir()
	life := func() *templates { return newTemplates(durable.OS(), dir, slog.New(slog.DiscardHandler)) }
	first := life()
	want := reads(t, first, 40, "session of alice closed after 3 s")[0]
	if got := reads(t, first, 60, "session of bob closed after 4 s")[0]; got != want {
		t.Errorf("after a reload %s, want %s", got, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := first.run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := reads(t, life(), 60, "session of carol closed after 5 s")[0]; got != want {
		t.Errorf("after a restart %s, want %s", got, want)
	}

	files, err := filepath.Glob(filepath.Join(dir, templatesDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	damaged := newTemplates(durable.OS(), dir, slog.New(slog.NewTextHandler(&log, nil)))
	if got := reads(t, damaged, 60, "session of dave closed after 6 s")[0]; got == want || !strings.Contains(log.String(), "checksum") {
		t.Errorf("signal %s of a damaged file, log %q", got, log.String())
	}
}
