package input

import (
	"context"
	"errors"
	"fmt"

	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pando/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a sink that keeps everything and checks each event's model.
type memory struct {
	mu    sync.Mutex
	items []Item
	gate  chan struct{} // if set, every Put waits for one token
	err   error
}

func (m *memory) Put(ctx context.Context, items []Item) error {
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range items {
		if err := items[i].Event.Validate(); err != nil {
			m.err = errors.Join(m.err, err)
		}
	}
	m.items = append(m.items, items...)
	return nil
}

func (m *memory) taken() []Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.items)
}

func (m *memory) check(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		t.Fatalf("events that break the model: %v", m.err)
	}
}

// tailing drives a tail poll by poll, on a clock that only the test moves.
type tailing struct {
	*testing.T
	dir, path string
	now       int64
	sink      *memory
	tail      *tail
}

const testGrace = time.Second

func newTailing(t *testing.T) *tailing {
	dir := t.TempDir()
	return &tailing{T: t, dir: dir, path: filepath.Join(dir, "app.log"), now: int64(time.Hour)}
}

func (h *tailing) spec() Spec {
	return Spec{
		Name: "app", Type: TypeTail, Path: h.path, Grace: testGrace,
		Pattern: `n=(?P<n>\d+)`, Value: "{n}",
		Criticality: []CritRule{{Text: "CRIT", Level: 0}},
	}
}

// starts opens the tail, as after a restart.
func (h *tailing) starts(s Spec, resume [event.Lanes][]event.Position) {
	h.Helper()
	h.stops()
	h.sink = &memory{}
	src, err := New(Options{Spec: s, Sink: h.sink, Clock: func() int64 { return h.now }, Resume: resume})
	if err != nil {
		h.Fatal(err)
	}
	h.tail = src.(*tail)
	h.Cleanup(h.stops)
}

func (h *tailing) stops() {
	if h.tail != nil {
		h.tail.closeAll()
		h.tail = nil
	}
}

// polls polls until nothing more is waiting.
func (h *tailing) polls() {
	h.Helper()
	for {
		h.now += int64(10 * time.Millisecond)
		busy, err := h.tail.poll(context.Background())
		if err != nil {
			h.Fatal(err)
		}
		if !busy {
			return
		}
	}
}

// waits lets time go by.
func (h *tailing) waits(d time.Duration) { h.now += int64(d); h.polls() }

func (h *tailing) writes(path, text string) {
	h.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	h.must(err)
}

func (h *tailing) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// rotates renames like logrotate: .1 is the newest.
func (h *tailing) rotates() {
	h.Helper()
	for i := 30; i >= 0; i-- {
		from := h.path
		if i > 0 {
			from = fmt.Sprintf("%s.%d", h.path, i)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", h.path, i+1)); err != nil && !os.IsNotExist(err) {
			h.Fatal(err)
		}
	}
}

// copyTruncates copies to .1 and truncates in place.
func (h *tailing) copyTruncates() {
	h.Helper()
	old, err := os.ReadFile(h.path)
	if err != nil {
		return
	}
	aside := h.path + ".aside"
	h.must(os.Rename(h.path, aside))
	h.rotates()
	h.must(os.Rename(aside, h.path))
	h.must(os.WriteFile(h.path+".1", old, 0o600))
	h.must(os.Truncate(h.path, 0))
}

// bodies are the texts of what was put.
func (h *tailing) bodies() []string {
	h.sink.check(h.T)
	var out []string
	for _, it := range h.sink.taken() {
		out = append(out, body(&it.Event))
	}
	return out
}

func body(e *event.Event) string { return attr(e, AttrBody) }

func attr(e *event.Event, key string) string {
	for _, a := range e.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

func (h *tailing) expect(want ...string) {
	h.Helper()
	if got := h.bodies(); !slices.Equal(got, want) {
		h.Fatalf("put %q\nwant %q", got, want)
	}
}

// durable are the positions after everything that was put.
func (h *tailing) durable() [event.Lanes][]event.Position {
	p := NewPositions(nil)
	for _, it := range h.sink.taken() {
		p.Apply(&it)
	}
	return [event.Lanes][]event.Position{p.List(), p.List()}
}

// running runs a source until the test ends.
func running(t *testing.T, o Options) Source {
	t.Helper()
	start := time.Now()
	if o.Clock == nil {
		o.Clock = func() int64 { return int64(time.Since(start)) + 1 }
	}
	src, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return src
}

// until waits for a condition; only a hang ends it otherwise.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}
