package ops

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// checkTimeout ends a readiness probe's checks together. It lies below the
// 10 s that load balancers and the kubelet usually grant, so that the answer
// names the check that was slow.
const checkTimeout = 2 * time.Second

// Check is one condition of being ready.
type Check struct {
	// Name identifies the check in /readyz; lower case, such as "wal".
	Name string
	// Probe returns nil when the condition holds. It is called for every
	// request, from several goroutines at once, and must return soon after
	// its context ends.
	Probe func(context.Context) error
}

// readiness is the body of /readyz.
type readiness struct {
	Status string        `json:"status"` // "ready" or "not ready"
	Checks []checkResult `json:"checks"`
}

type checkResult struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// liveHandler answers 200 as long as the process serves requests at all; what
// is wrong with it is for /readyz to say, for a restart cures few of those.
func liveHandler(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyHandler runs every check and answers 200 when all hold, else 503. The
// body lists each check by name, whatever the outcome.
func readyHandler(checks []Check) http.Handler {
	checks = slices.SortedFunc(slices.Values(checks), func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		answer := readiness{Status: "ready", Checks: make([]checkResult, 0, len(checks))}
		code := http.StatusOK
		for _, c := range checks {
			result := checkResult{Name: c.Name, OK: true}
			if err := c.Probe(ctx); err != nil {
				result.OK, result.Error = false, err.Error()
				answer.Status, code = "not ready", http.StatusServiceUnavailable
			}
			answer.Checks = append(answer.Checks, result)
		}
		writeJSON(w, code, answer)
	})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the peer has gone; there is nobody to tell
}
