package transport

import (
	"log/slog"
	"sync"
	"time"

	"pando/internal/ops"
)

// refusalEvery is the least time between two log lines of one reason about
// peers that anybody could be. The metric counts all.
const refusalEvery = 10 * time.Second

// maxReasons bounds the reasons that are told apart; there are some twenty,
// and those of Answer.
const maxReasons = 64

// refusalLog writes about connections that came to nothing. A node that proved
// who it is and is refused for what it is or says has its line each time; what
// strangers can cause, or a crowd, has one for each reason in a while.
type refusalLog struct {
	logger *slog.Logger

	mu    sync.Mutex
	quiet map[Code]*ops.Seldom
}

func (r *refusalLog) note(code Code, remote string, peer Identity, err error) {
	attrs := []any{"address", remote, "reason", code, "error", err}
	if peer.Name != "" {
		attrs = append(attrs, "peer", peer.String())
	}
	if peer.Name == "" || code == CodeBusy || code == CodeEvicted {
		unlogged, ok := r.of(code).Allow(time.Now())
		if !ok {
			return
		}
		attrs = append(attrs, "unlogged", unlogged)
	}
	r.logger.Warn("connection refused", attrs...)
}

func (r *refusalLog) of(code Code) *ops.Seldom {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.quiet) >= maxReasons {
		clear(r.quiet)
	}
	if r.quiet == nil {
		r.quiet = make(map[Code]*ops.Seldom)
	}
	s := r.quiet[code]
	if s == nil {
		s = &ops.Seldom{Every: refusalEvery}
		r.quiet[code] = s
	}
	return s
}
