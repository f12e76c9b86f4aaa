//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"pando/transport"
)

// asker reads from the roots as an operator does. It is safe for concurrent
// use.
type asker struct {
	http  *http.Client
	roots []place
}

// askLimit bounds one question: a root that hangs is passed over.
const askLimit = time.Second

func newAsker(dir string) (*asker, error) {
	at := func(name string) string { return filepath.Join(dir, "certs", name) }
	creds, err := transport.LoadCredentials(transport.Files{CA: at("ca.pem"), Cert: at("driver.pem"), Key: at("driver-key.pem")})
	if err != nil {
		return nil, err
	}
	return &asker{roots: placesOf(roleRoot, ""), http: &http.Client{
		Timeout:   askLimit,
		Transport: &http.Transport{TLSClientConfig: creds.ClientConfig(), TLSHandshakeTimeout: askLimit},
	}}, nil
}

func (a *asker) ask(ctx context.Context, p place, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+p.addr+":"+portAPI+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s of %s", p.name, resp.Status, path)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// any asks the roots in turn.
func (a *asker) any(ctx context.Context, path string, answer any) (err error) {
	for _, r := range a.roots {
		if err = a.ask(ctx, r, path, answer); err == nil {
			return nil
		}
	}
	return err
}

// treeNode is a node as GET /v1/tree tells.
type treeNode struct {
	Name, Role, Parent, State string
}

func (a *asker) tree(ctx context.Context) ([]treeNode, error) {
	var view struct{ Nodes []treeNode }
	err := a.any(ctx, "/v1/tree", &view)
	return view.Nodes, err
}

// tally is what the root holds of a series.
type tally struct {
	Entity   string
	Count    uint64
	SumExact string `json:"sum_exact"`
}

func (a *asker) series(ctx context.Context, p place) ([]tally, error) {
	var view struct{ Series []tally }
	err := a.ask(ctx, p, "/v1/series", &view)
	return view.Series, err
}

// watch knows how many lines of each source are settled, by linearizable
// reads: what it has seen, a majority has. It checks them on the way: a read
// that began after another had its answer shows no less.
type watch struct {
	asker *asker
	fault func(format string, args ...any)

	mu      sync.Mutex
	settled map[string]uint64 // by entity
	begun   time.Time         // when the newest read with an answer began
}

// look is how often each root is asked; with three of them, and out of step,
// the times that are measured are right to about a third of it.
const look = 60 * time.Millisecond

func newWatch(a *asker, fault func(string, ...any)) *watch {
	return &watch{asker: a, fault: fault, settled: map[string]uint64{}}
}

// run asks until ctx ends.
func (w *watch) run(ctx context.Context) {
	var wg sync.WaitGroup
	for i, r := range w.asker.roots {
		wg.Go(func() {
			time.Sleep(look * time.Duration(i) / time.Duration(len(w.asker.roots)))
			tick := time.NewTicker(look)
			defer tick.Stop()
			for ctx.Err() == nil {
				began, known := time.Now(), w.all()
				if list, err := w.asker.series(ctx, r); err == nil {
					w.take(r.name, began, known, list)
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
}

func (w *watch) all() map[string]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.settled)
}

// take takes a root's answer to a read that began when so much was known.
func (w *watch) take(root string, began time.Time, known map[string]uint64, list []tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if began.After(w.begun) {
		w.begun = began
	}
	for _, t := range list {
		if t.Count < known[t.Entity] {
			w.fault("%s serves a read with %d lines of %s, %d had been read before it began", root, t.Count, t.Entity, known[t.Entity])
		}
		w.settled[t.Entity] = max(w.settled[t.Entity], t.Count)
	}
}

// servedAfter reports whether a read that began after t was answered.
func (w *watch) servedAfter(t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun.After(t)
}

func (w *watch) count(entity string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settled[entity]
}

// await waits until so many lines of a source are settled.
func (w *watch) await(ctx context.Context, entity string, count uint64, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for w.count(entity) < count {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}
