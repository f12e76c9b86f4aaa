package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"pando/agent/input"
	"pando/internal/durable"
)

const (
	templatesDir = "templates"
	// templatesLimit is above what the most and longest templates take.
	templatesLimit = 128 << 20
	// keepTemplatesEvery bounds what a crash can cost: kinds of lines that were
	// first read since may get other ids, if masking leaves values in them.
	keepTemplatesEvery = 5 * time.Second
)

// templates keeps what sources have learnt of their lines' templates, over
// their exchange at a reload and over restarts: a kind of line that is known
// must not look new. The files are no part of custody. One that is lost or
// damaged costs what it says, and nothing waits for them.
type templates struct {
	fs  durable.FS
	dir string
	log *slog.Logger

	mu     sync.Mutex
	known  map[string]*sourceTemplates // by the source's name
	failed bool                        // to write, the last time
}

type sourceTemplates struct {
	spec  input.TemplateSpec
	mined *input.Templates
	kept  uint64 // news that the file has
}

func newTemplates(fsys durable.FS, dir string, log *slog.Logger) *templates {
	return &templates{fs: fsys, dir: filepath.Join(dir, templatesDir), log: log, known: map[string]*sourceTemplates{}}
}

// of returns a source's templates, nil if it wants none.
func (t *templates) of(spec *input.Spec) (*input.Templates, error) {
	if spec.Template == nil {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.known[spec.Name]
	if old != nil && old.spec == *spec.Template {
		return old.mined, nil
	}
	mined, err := input.NewTemplates(*spec.Template)
	if err != nil {
		return nil, fmt.Errorf("source %q: template: %w", spec.Name, err)
	}
	var state []byte
	if old != nil {
		state = old.mined.State()
	} else if state, err = t.read(spec.Name); err != nil {
		t.log.Warn("templates are learnt anew", "source", spec.Name, "error", err)
	}
	if state != nil {
		if err := mined.Restore(state); err != nil {
			t.log.Warn("templates are learnt anew", "source", spec.Name, "error", err)
		}
	}
	t.known[spec.Name] = &sourceTemplates{spec: *spec.Template, mined: mined}
	return mined, nil
}

func (t *templates) path(source string) string {
	sum := sha256.Sum256([]byte(source))
	return filepath.Join(t.dir, fmt.Sprintf("%x", sum[:8]))
}

// read returns the state that a file has; nil if there is none.
func (t *templates) read(source string) ([]byte, error) {
	path := t.path(source)
	b, err := durable.ReadFile(t.fs, path, templatesLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(b) < 4 || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return nil, fmt.Errorf("%s: its checksum is another", path)
	}
	return b[4:], nil
}

// run writes what is news, now and then and in the end.
func (t *templates) run(ctx context.Context) error {
	tick := time.NewTicker(keepTemplatesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.keep()
			return nil
		case <-tick.C:
			t.keep()
		}
	}
}

// keep writes what is news. What cannot be written is tried again.
func (t *templates) keep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var failed error
	for source, s := range t.known {
		news := s.mined.News()
		if news == s.kept {
			continue
		}
		state := s.mined.State()
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(state, castagnoli))
		err := t.fs.MkdirAll(t.dir)
		if err == nil {
			err = durable.WriteFile(t.fs, t.path(source), sum, state)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		s.kept = news
	}
	if failed != nil && !t.failed {
		t.log.Warn("templates are not kept; after a restart known lines may look new", "error", failed)
	}
	t.failed = failed != nil
}
