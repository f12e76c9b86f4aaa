//go:build !zos

package root

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// maxWatchers bounds the streams of changes that are open at once.
const maxWatchers = 64

// watchPause is the least time between two looks for changes; nobody sees it.
const watchPause = 10 * time.Millisecond

// fault is the body of an error.
type fault struct {
	Error  string `json:"error"`
	Leader string `json:"leader,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// API serves reads as JSON:
//
//	GET /v1/status                    this root and its group
//	GET /v1/tree                      every node; at the leader
//	GET /v1/incidents                 all that are kept
//	GET /v1/incidents/{id}            one, with timeline and evidence
//	GET /v1/incidents/watch?from=N    changes from Raft index N on, a line each, without end
//	GET /v1/units, /v1/series         what is settled, and what it adds up to
//	GET /v1/patterns                  those in force, and what runs of them
//	GET /v1/ledger                    what was accepted, settled, held, dropped; at the leader
//	GET /v1/tap?entity=&signal=       what is settled and found, live
//	GET /v1/root/members              the roots; at the leader
//
// And, at the leader, for operators only:
//
//	POST /v1/root/members                  add a root: {"name", "raft", "addr", "api"}
//	DELETE /v1/root/members/{name}?force=  remove it
//	POST /v1/root/transfer                 hand leadership over: {"name"}, which may be empty
//	GET, POST /v1/root/snapshot            save the state, put it back
//	POST /v1/patterns?dry_run=             put a set of patterns in force, as cep.Set.Append writes it
//
// Reads are linearizable, at whichever root, and fail with 503 without a
// quorum; stale=true reads what this root has. A follower redirects what only
// the leader serves.
func (r *Root) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, r.State()) })
	mux.HandleFunc("GET /v1/tree", r.atLeader(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, r.Tree()) }))
	mux.HandleFunc("GET /v1/patterns", r.servePatterns)
	mux.HandleFunc("GET /v1/ledger", r.atLeader(r.serveLedger))
	mux.HandleFunc("GET /v1/incidents", serveRead(r, "incidents", r.Incidents))
	mux.HandleFunc("GET /v1/units", serveRead(r, "units", r.Units))
	mux.HandleFunc("GET /v1/series", serveRead(r, "series", r.Series))
	mux.HandleFunc("GET /v1/incidents/{id}", func(w http.ResponseWriter, q *http.Request) {
		d, err := r.Incident(q.Context(), q.PathValue("id"), isStale(q))
		if err != nil {
			r.writeFault(w, err)
			return
		}
		writeJSON(w, http.StatusOK, d)
	})
	watchers := make(chan struct{}, maxWatchers)
	mux.HandleFunc("GET /v1/incidents/watch", func(w http.ResponseWriter, q *http.Request) {
		select {
		case watchers <- struct{}{}:
			defer func() { <-watchers }()
			r.serveWatch(w, q)
		default:
			writeJSON(w, http.StatusTooManyRequests, fault{Error: "too many watch this root"})
		}
	})
	mux.Handle("GET /v1/tap", &r.tap)
	r.groupAPI(mux)
	return mux
}

func isStale(q *http.Request) bool {
	stale, err := strconv.ParseBool(q.URL.Query().Get("stale"))
	return err == nil && stale
}

// serveRead serves a list under its name.
func serveRead[T any](r *Root, name string, read func(context.Context, bool) ([]T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		list, err := read(q.Context(), isStale(q))
		if err != nil {
			r.writeFault(w, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string][]T{name: list})
	}
}

func (r *Root) serveLedger(w http.ResponseWriter, q *http.Request) {
	l, err := r.Ledger(q.Context(), isStale(q))
	if err != nil {
		r.writeFault(w, err)
		return
	}
	writeJSON(w, http.StatusOK, l)
}

// atLeader serves what only the leader hears of; another root sends the
// request there, unless stale words will do.
func (r *Root) atLeader(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if r.Leading() || isStale(q) {
			serve(w, q)
			return
		}
		r.sendToLeader(w, q)
	}
}

// serveWatch streams changes of incidents.
func (r *Root) serveWatch(w http.ResponseWriter, q *http.Request) {
	from := uint64(0)
	if s := q.URL.Query().Get("from"); s != "" {
		var err error
		if from, err = strconv.ParseUint(s, 10, 64); err != nil {
			writeJSON(w, http.StatusBadRequest, fault{Error: "from: want a Raft index, which is a number"})
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{}) // a stream has no end
	enc := json.NewEncoder(w)
	seen := uint64(0)
	for {
		list, moved := r.Changes(from)
		for _, c := range list {
			if c.Seq <= seen {
				continue
			}
			if enc.Encode(c) != nil {
				return
			}
			seen, from = c.Seq, c.Index
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-q.Context().Done():
			return
		case <-moved:
		}
		// What comes at once goes out together; a state is frozen for each look.
		if !pause(q.Context(), watchPause) {
			return
		}
	}
}

func (r *Root) writeFault(w http.ResponseWriter, err error) {
	f, code := fault{Error: err.Error(), Leader: r.Leader()}, http.StatusServiceUnavailable
	switch {
	case errors.Is(err, ErrUnknown):
		code = http.StatusNotFound
	case f.Leader != "" && f.Leader != r.name:
		f.Hint = "ask the leader, or read what this root has with stale=true"
	default:
		f.Hint = "read what this root has with stale=true"
	}
	writeJSON(w, code, f)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; there is nobody to tell
}
