//go:build !zos

package gossip

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for a refusal; they are the values of a metric's label.
const (
	reasonKey       = "key"       // encrypted with a key that is not on the ring
	reasonPlaintext = "plaintext" // not encrypted
	reasonLabel     = "label"     // meant for another pool
	reasonMalformed = "malformed" // cannot be read
	reasonNetwork   = "network"   // from or about an address outside the allowed networks
	reasonBusy      = "busy"      // too many streams at once
	reasonMeta      = "meta"      // a member whose meta cannot be read
	reasonName      = "name"      // two members of one name
	reasonFull      = "full"      // the pool has its greatest size
)

// refusalEvery is the least time between two log lines of one reason: whoever
// can reach the port could fill the log otherwise. The metric counts all.
const refusalEvery = 10 * time.Second

// refusals counts and logs what the pool keeps out. Safe for concurrent use.
type refusals struct {
	count  *prometheus.CounterVec
	logger *slog.Logger

	mu     sync.Mutex
	logged map[string]*silence // by reason, hence bounded
}

type silence struct {
	since time.Time // last log line
	count int       // refusals since then that were not logged
}

func newRefusals(count *prometheus.CounterVec, logger *slog.Logger) *refusals {
	return &refusals{count: count, logger: logger, logged: make(map[string]*silence)}
}

// note counts one refusal and logs it if its reason has been quiet.
func (r *refusals) note(reason, detail string) {
	r.count.WithLabelValues(reason).Inc()
	now := time.Now()
	r.mu.Lock()
	s := r.logged[reason]
	if s != nil && now.Sub(s.since) < refusalEvery {
		s.count++
		r.mu.Unlock()
		return
	}
	unlogged := 0
	if s != nil {
		unlogged = s.count
	}
	r.logged[reason] = &silence{since: now}
	r.mu.Unlock()
	r.logger.Warn("gossip refused", "reason", reason, "detail", detail, "unlogged", unlogged)
}
