package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// changeTimeout is how long a root may take to change the group: longer than
// it gives itself.
const changeTimeout = 30 * time.Second

// patient returns a client that waits so long for an answer to begin; 0: as
// long as it takes.
func (c *client) patient(d time.Duration) *client {
	t := c.http.Transport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = d
	t.ExpectContinueTimeout = askTimeout
	return &client{http: &http.Client{Transport: t}, addrs: c.addrs}
}

// request is one that changes something. Its body is made anew for each
// attempt and each redirection.
type request struct {
	method, path string
	query        url.Values
	kind         string // of the body
	body         func() (io.ReadCloser, error)
	size         int64
}

// jsonRequest has a document as its body.
func jsonRequest(method, path string, v any) (request, error) {
	b, err := json.Marshal(v)
	return request{method: method, path: path, kind: "application/json", size: int64(len(b)),
		body: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(b))), nil }}, err
}

// send asks each node in turn until one has done it, and decodes its answer
// into v. What is asked for must be harmless when it is done twice: a node may
// have done it, and its answer was lost.
func (c *client) send(ctx context.Context, q request, v any) error {
	var tries []error
	for _, addr := range c.addrs {
		err := c.sendTo(ctx, addr, q, v)
		var answer *answerError
		if err == nil || errors.As(err, &answer) && answer.status != http.StatusServiceUnavailable || ctx.Err() != nil {
			return err
		}
		tries = append(tries, err)
	}
	if len(tries) == 1 {
		return tries[0]
	}
	return &noAnswer{tries}
}

func (c *client) sendTo(ctx context.Context, addr string, q request, v any) error {
	u := url.URL{Scheme: "https", Host: addr, Path: q.path, RawQuery: q.query.Encode()}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		return err
	}
	if q.body != nil {
		if req.Body, err = q.body(); err != nil {
			return err
		}
		req.GetBody, req.ContentLength = q.body, q.size
		req.Header.Set("Content-Type", q.kind)
		// A follower redirects before anything large is sent to it.
		req.Header.Set("Expect", "100-continue")
	}
	resp, err := c.do(req, addr)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		return fmt.Errorf("answer of %s: %w", addr, err)
	}
	return nil
}
