//go:build !zos

package root

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pando/root/consensus"
	"pando/transport"
)

// maxGroupBody bounds what is posted about the group, snapshots excepted.
const maxGroupBody = 16 << 10

// groupAPI serves what is about the group itself; see [Root.API].
func (r *Root) groupAPI(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/root/members", r.serveMembers)
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /v1/root/members":             r.postMember,
		"DELETE /v1/root/members/{name...}": r.deleteMember,
		"POST /v1/root/transfer":            r.postTransfer,
		"GET /v1/root/snapshot":             r.getSnapshot,
		"POST /v1/root/snapshot":            r.postSnapshot,
		"POST /v1/patterns":                 r.postPatterns,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, q *http.Request) {
			if !isOperator(q) {
				writeJSON(w, http.StatusForbidden, fault{Error: "only an operator may do that to the group", Hint: "use an operator's certificate"})
				return
			}
			if !r.awaitLeader(q.Context()) {
				r.sendToLeader(w, q)
				return
			}
			if err := serve(w, q); err != nil {
				r.writeGroupFault(w, q, err)
			}
		})
	}
}

// Uploads are the patterns of the API that take large bodies, and the most
// bytes of each.
func (r *Root) Uploads() map[string]int64 {
	return map[string]int64{"POST /v1/root/snapshot": MaxBackup}
}

// isOperator tells whether the certificate that came with a request is a
// person's. A relay or a root is no one who changes the group, or takes the
// whole state away.
func isOperator(q *http.Request) bool {
	if q.TLS == nil || len(q.TLS.PeerCertificates) == 0 {
		return false
	}
	id, err := transport.ParseIdentity(q.TLS.PeerCertificates[0])
	return err == nil && id.Role == transport.RoleOperator
}

// awaitLeader reports whether this root leads, once that is known: it may have
// been elected a moment ago.
func (r *Root) awaitLeader(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	for {
		if _, other := r.link.leader(); other {
			return false
		}
		if r.Leading() || !pause(ctx, linkPause) {
			return r.Leading()
		}
	}
}

// sendToLeader redirects a request that only the leader serves.
func (r *Root) sendToLeader(w http.ResponseWriter, q *http.Request) {
	leader, ok := r.link.leader()
	switch {
	case ok && leader.API != "":
		http.Redirect(w, q, leader.API+q.URL.RequestURI(), http.StatusTemporaryRedirect)
	case ok:
		writeJSON(w, http.StatusServiceUnavailable, fault{Error: fmt.Sprintf("only the leader can answer, %s, and it has not said where its API is", leader.Name),
			Leader: leader.Name, Hint: "ask it directly; to be redirected there, set api in its line of raft.servers"})
	default:
		r.writeFault(w, ErrNoLeader)
	}
}

// writeGroupFault answers a change that failed.
func (r *Root) writeGroupFault(w http.ResponseWriter, q *http.Request, err error) {
	f := fault{Error: err.Error(), Leader: r.Leader()}
	code := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, consensus.ErrNotLeader):
		r.sendToLeader(w, q)
		return
	case errors.Is(err, ErrNoMember):
		code = http.StatusNotFound
	case errors.Is(err, ErrInput), errors.Is(err, ErrBackup), errors.Is(err, ErrSnapshot):
		code = http.StatusBadRequest
	case errors.Is(err, ErrMember), errors.Is(err, ErrQuorum), errors.Is(err, ErrPatterns):
		code = http.StatusConflict
	case errors.Is(err, consensus.ErrIndeterminate), errors.Is(err, context.DeadlineExceeded):
		f.Hint = "it may have happened or not: look at the members, then try again"
	}
	writeJSON(w, code, f)
}

func (r *Root) serveMembers(w http.ResponseWriter, q *http.Request) {
	stale := isStale(q)
	if !stale && !r.awaitLeader(q.Context()) {
		r.sendToLeader(w, q)
		return
	}
	m, err := r.Members(q.Context(), stale)
	if err != nil {
		r.writeFault(w, err)
		return
	}
	writeJSON(w, http.StatusOK, m)
}

// newMember is the body of a request to add a root.
type newMember struct {
	Name string `json:"name"`
	Raft string `json:"raft"`
	Addr string `json:"addr"`
	API  string `json:"api,omitempty"` // host:port
}

func (r *Root) postMember(w http.ResponseWriter, q *http.Request) error {
	var m newMember
	if err := readBody(w, q, &m); err != nil {
		return err
	}
	s := Server{Name: m.Name, Raft: m.Raft, Addr: m.Addr}
	if m.API != "" {
		s.API = "https://" + m.API
	}
	if err := r.AddMember(q.Context(), s); err != nil {
		return err
	}
	return r.writeMember(w, m.Name)
}

// writeMember answers with how a member is now.
func (r *Root) writeMember(w http.ResponseWriter, name string) error {
	m, ok := r.node.Group().Find(name)
	if !ok {
		return fmt.Errorf("%s: %w", name, ErrNoMember)
	}
	writeJSON(w, http.StatusOK, r.member(m, r.Leader(), r.node.Stats().CommitIndex))
	return nil
}

func (r *Root) deleteMember(w http.ResponseWriter, q *http.Request) error {
	name := q.PathValue("name")
	force, _ := strconv.ParseBool(q.URL.Query().Get("force"))
	if name == r.name && slices.ContainsFunc(r.node.Group().Members, func(m consensus.Member) bool { return m.ID != name && m.Voter }) {
		// Another one leads first, and removes this one then.
		if _, err := r.TransferLeadership(q.Context(), ""); err != nil {
			return err
		}
		r.sendToLeader(w, q)
		return nil
	}
	if err := r.RemoveMember(q.Context(), name, force); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"removed": name})
	return nil
}

func (r *Root) postTransfer(w http.ResponseWriter, q *http.Request) error {
	var to struct {
		Name string `json:"name"`
	}
	if err := readBody(w, q, &to); err != nil {
		return err
	}
	leader, err := r.TransferLeadership(q.Context(), to.Name)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"from": r.name, "leader": leader})
	return nil
}

// unhurried lifts the server's limits on the time of a request: a snapshot
// takes as long as it takes.
func unhurried(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
}

// getSnapshot streams the state. An error after the first byte can only cut
// the stream off; the client sees that the hash at its end is missing.
func (r *Root) getSnapshot(w http.ResponseWriter, q *http.Request) error {
	unhurried(w)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	begun := &begun{ResponseWriter: w}
	err := r.SaveSnapshot(q.Context(), begun)
	if err != nil && begun.yes {
		r.log.Warn("a snapshot was not sent to its end", "error", err)
		panic(http.ErrAbortHandler) // so that the connection is cut
	}
	return err
}

// begun notes whether anything was written.
type begun struct {
	http.ResponseWriter
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

func (r *Root) postSnapshot(w http.ResponseWriter, q *http.Request) error {
	unhurried(w)
	b, err := r.RestoreSnapshot(q.Context(), q.Body)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, b)
	return nil
}

// readBody reads a small document.
func readBody(w http.ResponseWriter, q *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxGroupBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: body: %w", ErrInput, err)
	}
	return nil
}
