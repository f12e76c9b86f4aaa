//go:build !zos

package relay

import (
	"context"
	"sync"
	"time"

	"pando/transport"
)

// firstCredit is what a child may have in flight in each lane from the start:
// one batch after the other, whatever the others do.
const firstCredit transport.Credit = 64 << 10

// mostCredit is how far a lane's window may grow.
var mostCredit = [transport.Lanes]transport.Credit{transport.LaneCritical: 4 << 20, transport.LaneBulk: 8 << 20}

// wantFor is how long after somebody got no credit those who have much give
// some back.
const wantFor = time.Second

// pool is the credit that the children share beyond what each has from the
// start: it bounds the bytes that may be on their way into this relay. Safe
// for concurrent use.
type pool struct {
	mu      sync.Mutex
	total   transport.Credit
	left    transport.Credit
	windows int
	wanted  time.Time // when somebody with less than an equal share last got less than it asked for
}

func newPool(total transport.Credit) *pool { return &pool{total: total, left: total} }

// window returns a lane's window; close gives it back.
func (p *pool) window(lane transport.Lane) *window {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.windows++
	return &window{pool: p, most: mostCredit[lane], size: firstCredit}
}

// take returns at most n more, for a window that has had credit of the pool.
func (p *pool) take(n, had transport.Credit, now time.Time) transport.Credit {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := min(n, p.left)
	p.left -= got
	if got < n && had < p.shareLocked() {
		p.wanted = now
	}
	return got
}

func (p *pool) shareLocked() transport.Credit { return p.total / transport.Credit(max(p.windows, 1)) }

// back takes at most n of what a window had above an equal share, while others
// lack it, and returns how much.
func (p *pool) back(n, had transport.Credit, now time.Time) transport.Credit {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.wanted) >= wantFor {
		return 0
	}
	n = max(0, min(n, had-p.shareLocked()))
	p.left += n
	return n
}

// window is what one lane of a child may have in flight. It doubles each time
// the child has used all of it, while the pool has credit, and shrinks to an
// equal share while others lack theirs. Not safe for concurrent use.
type window struct {
	pool *pool
	most transport.Credit
	size transport.Credit
	used transport.Credit // since the window last grew
}

// taken takes note that the log holds messages of this cost, and returns the
// credit to give to the child.
func (w *window) taken(cost transport.Credit, now time.Time) transport.Credit {
	w.used += cost
	back := w.pool.back(cost/2, w.size-firstCredit, now)
	w.size -= back
	if back > 0 || w.used < w.size || w.size >= w.most {
		return cost - back
	}
	more := w.pool.take(min(w.size, w.most-w.size), w.size-firstCredit, now)
	w.size += more
	w.used = 0
	return cost + more
}

// close gives what the window has of the pool back.
func (w *window) close() {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.pool.left += w.size - firstCredit
	w.pool.windows--
}

// quota lets a child send so many bytes a second, and so many at once after a
// pause. Not safe for concurrent use.
type quota struct {
	rate float64 // bytes a second; 0: no limit
	debt float64 // bytes above the rate
	at   time.Time
}

// quotaBurst is how long a child may send at any rate before its quota holds.
const quotaBurst = time.Second

// wait spends cost and waits until the child is within its quota.
func (q *quota) wait(ctx context.Context, cost transport.Credit) bool {
	d := q.spend(cost, time.Now())
	if d <= 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// spend returns how long to wait after spending cost.
func (q *quota) spend(cost transport.Credit, now time.Time) time.Duration {
	if q.rate == 0 {
		return 0
	}
	if !q.at.IsZero() {
		q.debt = max(0, q.debt-float64(now.Sub(q.at).Seconds()*q.rate))
	}
	q.at = now
	q.debt += float64(cost)
	return time.Duration(q.debt/q.rate*float64(time.Second)) - quotaBurst
}
