package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// A large body reaches the leader through a follower that redirects, and is not
// sent to the follower; a node that is down, or has no quorum, is passed over;
// one that refuses is believed.
func TestSendFindsWhoCanDoIt(t *testing.T) {
	const size = 8 << 20
	var got, wasted atomic.Int64
	leader := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Add(n)
		fmt.Fprint(w, `{"done": true}`)
	}))
	defer leader.Close()
	follower := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer follower.Close()
	lonely := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error": "no leader"}`)
	}))
	defer lonely.Close()
	strict := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"error": "no", "hint": "bring a root back"}`)
	}))
	defer strict.Close()

	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "https://") }
	ask := func(addrs ...string) error {
		c := (&client{http: leader.Client(), addrs: addrs}).patient(changeTimeout)
		defer c.close()
		q := request{method: http.MethodPost, path: "/v1/x", kind: "application/octet-stream", size: size,
			body: func() (io.ReadCloser, error) {
				return io.NopCloser(io.TeeReader(strings.NewReader(strings.Repeat("x", size)), counter{&wasted})), nil
			}}
		var answer struct{ Done bool }
		if err := c.send(t.Context(), q, &answer); err != nil {
			return err
		}
		if !answer.Done {
			t.Errorf("answered by %+v", answer)
		}
		return nil
	}
	if err := ask("127.0.0.1:1", address(lonely), address(follower)); err != nil {
		t.Fatal(err)
	}
	if got.Load() != size || wasted.Load() != size {
		t.Errorf("the leader got %d bytes of %d, and %d were sent in all", got.Load(), size, wasted.Load())
	}
	err := ask(address(strict), address(leader))
	var refusal *answerError
	if !errors.As(err, &refusal) || refusal.status != http.StatusConflict || refusal.Hint() != "bring a root back" || got.Load() != size {
		t.Errorf("a refusal: %v", err)
	}
	if err := ask(address(lonely), "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no node can answer") {
		t.Errorf("nobody: %v", err)
	}
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
