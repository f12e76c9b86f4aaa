package relay

import (
	"slices"
	"sync"

	"pando/stream"
	"pando/stream/aggregate"
)

// maxBehind bounds the batches that wait for the windows: the core waits, too,
// when there are more. It is some milliseconds of a relay at its limit.
const maxBehind = 4

// windowing feeds the windows beside the core, which asks for what they tell at
// ticks only: so two processors step one relay. The windows see the batches in the
// core's order, and all of them before the core looks, so that nothing depends on
// how fast they are.
type windowing struct {
	windows *aggregate.Engine

	mu      sync.Mutex
	changed *sync.Cond // the queue became shorter, or busy false
	queue   []sighted
	busy    bool // a goroutine works on the queue
}

// sighted is a batch at the root time that had come when the core stepped it.
type sighted struct {
	batch *stream.Arrival
	now   int64
}

func newWindowing(windows *aggregate.Engine) *windowing {
	w := &windowing{windows: windows}
	w.changed = sync.NewCond(&w.mu)
	return w
}

// observe shows the windows a batch, which is theirs from now on.
func (w *windowing) observe(a *stream.Arrival, now int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) >= maxBehind {
		w.changed.Wait()
	}
	w.queue = append(w.queue, sighted{a, now})
	if !w.busy {
		w.busy = true
		go w.work()
	}
}

// work ends when nothing is left to do.
func (w *windowing) work() {
	for next, ok := w.next(); ok; next, ok = w.next() {
		w.windows.Observe(next.batch, next.now)
		arrivals.Put(next.batch)
	}
}

// next takes a batch off the queue, or says that none is left.
func (w *windowing) next() (s sighted, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy = len(w.queue) > 0; w.busy {
		s = w.queue[0]
		w.queue = slices.Delete(w.queue, 0, 1)
	}
	w.changed.Broadcast()
	return s, w.busy
}

// engine returns the windows, which have seen everything and see nothing before
// the next observe.
func (w *windowing) engine() *aggregate.Engine {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy {
		w.changed.Wait()
	}
	return w.windows
}
