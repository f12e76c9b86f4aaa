package sim

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Summary is what came of many seeds.
type Summary struct {
	First  uint64   `json:"first"`
	Seeds  uint64   `json:"seeds"` // that were run
	Large  bool     `json:"large,omitempty"`
	Steps  uint64   `json:"steps"`
	Lines  int      `json:"lines"`
	Failed []Result `json:"failed"`
	Took   float64  `json:"seconds"`
}

// gcPercent trades memory for time: a run is short and makes much garbage.
const gcPercent = 400

// RunMany runs seeds from first on, as many at once as there are processors,
// until ctx ends. Failed is told of each failure as it comes; it may be nil.
func RunMany(ctx context.Context, first, seeds uint64, large bool, failed func(Result)) Summary {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	began := time.Now()
	s := Summary{First: first, Large: large, Failed: []Result{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := first
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next-first >= seeds || ctx.Err() != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r := Run(seed, large, nil)
				mu.Lock()
				s.Seeds++
				s.Steps += r.Steps
				s.Lines += r.Lines
				if r.Failed() {
					s.Failed = append(s.Failed, r)
					if failed != nil {
						failed(r)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.Took = time.Since(began).Seconds()
	return s
}
