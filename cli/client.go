package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pando/transport"
)

const (
	// askTimeout is how long one node may take to answer, a read from a quorum
	// during an election included.
	askTimeout = 5 * time.Second
	// maxAnswer bounds an answer in bytes: the tree view of ten thousand nodes.
	maxAnswer = 64 << 20
	// maxComplaint bounds the text of a refusal that is shown.
	maxComplaint = 4 << 10
	// maxStreamLine bounds one line of a stream: an event's text and names.
	maxStreamLine = 1 << 20
)

// client asks nodes of a tree over mutual TLS. It is safe for concurrent use.
type client struct {
	http  *http.Client
	addrs []string // asked in turn until one answers
}

// newClient returns a client that believes nodes of the credentials' domain
// only. Names in DNS play no part: a node's name is in its certificate.
func newClient(creds *transport.Credentials, addrs []string) *client {
	config := creds.ClientConfig()
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		peer, err := transport.ParseIdentity(state.PeerCertificates[0])
		if err == nil && peer.Role == transport.RoleOperator {
			err = fmt.Errorf("%w: %s answers, which is no node of the tree", transport.ErrIdentity, peer)
		}
		return err
	}
	return &client{
		http:  &http.Client{Transport: &http.Transport{TLSClientConfig: config, ResponseHeaderTimeout: askTimeout, TLSHandshakeTimeout: askTimeout}},
		addrs: addrs,
	}
}

// close lets go of idle connections.
func (c *client) close() { c.http.CloseIdleConnections() }

// answerError is a node's refusal.
type answerError struct {
	addr   string
	status int
	text   string
	hint   string // the node's own, or empty
}

func (e *answerError) Error() string { return fmt.Sprintf("%s: %s", e.addr, e.text) }

func (e *answerError) Hint() string {
	switch e.status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return "use an operator's certificate: pando ca issue --role operator"
	case http.StatusUnprocessableEntity:
		return e.hint
	case http.StatusServiceUnavailable:
		if e.hint != "" {
			return e.hint
		}
		return "the roots may be electing a leader, or a majority of them is down: try again, see \"pando tree\", or read what this node knows with --stale"
	}
	return e.hint
}

// Unwrap makes a request that makes no sense a mistake in the command line.
func (e *answerError) Unwrap() error {
	if e.status == http.StatusBadRequest {
		return errUsage
	}
	return nil
}

// final tells whether another node would say the same.
func (e *answerError) final() bool {
	return e.status == http.StatusBadRequest || e.status == http.StatusForbidden || e.status == http.StatusUnauthorized
}

// noAnswer says that nobody answered, and why not.
type noAnswer struct{ tries []error }

func (e *noAnswer) Error() string {
	var b strings.Builder
	var answer *answerError
	if errors.As(e, &answer) {
		b.WriteString("no node can answer")
	} else {
		b.WriteString("no node answers")
	}
	for _, t := range e.tries {
		b.WriteString("\n  " + t.Error())
	}
	return b.String()
}

func (e *noAnswer) Unwrap() []error { return e.tries }

func (e *noAnswer) Hint() string {
	for _, t := range e.tries {
		var answer *answerError
		if errors.As(t, &answer) {
			return answer.Hint()
		}
	}
	return "are the nodes running, and are these their API addresses (\"api\" in their configuration)?"
}

// get asks each node in turn and decodes the first answer into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	body, err := c.getBytes(ctx, path, query)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("answer to %s: %w", path, err)
	}
	return nil
}

func (c *client) getBytes(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout*time.Duration(len(c.addrs)))
	defer cancel()
	resp, err := c.open(ctx, path, query)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("more than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", resp.Request.URL.Host, err)
	}
	return body, nil
}

// post asks each node in turn to do something and decodes the first answer.
func (c *client) post(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout*time.Duration(len(c.addrs)))
	defer cancel()
	var tries []error
	for _, addr := range c.addrs {
		u := url.URL{Scheme: "https", Host: addr, Path: path}
		resp, err := c.try(ctx, http.MethodPost, addr, u.String())
		if err == nil {
			defer resp.Body.Close()
			return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(v)
		}
		var answer *answerError
		if errors.As(err, &answer) {
			return err
		}
		tries = append(tries, err)
	}
	return &noAnswer{tries}
}

// open returns the first good response. A follower that sends us to the leader
// is followed by net/http.
func (c *client) open(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	var tries []error
	for _, addr := range c.addrs {
		u := url.URL{Scheme: "https", Host: addr, Path: path, RawQuery: query.Encode()}
		resp, err := c.try(ctx, http.MethodGet, addr, u.String())
		if err == nil {
			return resp, nil
		}
		var answer *answerError
		if errors.As(err, &answer) && answer.final() || ctx.Err() != nil {
			return nil, err
		}
		tries = append(tries, err)
	}
	if len(tries) == 1 {
		var answer *answerError
		if errors.As(tries[0], &answer) {
			return nil, tries[0]
		}
	}
	return nil, &noAnswer{tries}
}

func (c *client) try(ctx context.Context, method, addr, target string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	return c.do(req, addr)
}

// do makes one request and turns a refusal into an answerError.
func (c *client) do(req *http.Request, addr string) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // the URL tells the operator nothing new
		}
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxComplaint))
	refusal := &answerError{addr: addr, status: resp.StatusCode}
	refusal.text, refusal.hint = complaint(resp, text)
	if req.Method == http.MethodGet {
		refusal.hint = "" // we know better which flag would help
	}
	return nil, refusal
}

// complaint is what a refusal says: {"error": …, "hint": …}, or plain text, or
// only its status.
func complaint(resp *http.Response, body []byte) (text, hint string) {
	var doc struct {
		Error string `json:"error"`
		Hint  string `json:"hint"`
	}
	if json.Unmarshal(body, &doc) == nil && doc.Error != "" {
		return doc.Error, doc.Hint
	}
	text = string(bytes.TrimSpace(body))
	if resp.StatusCode == http.StatusNotFound {
		return "knows nothing of " + resp.Request.URL.Path, ""
	}
	if text == "" {
		text = resp.Status
	}
	return text, ""
}

// stream hands each line of a stream to take, until the stream ends, take
// fails, or ctx is done, which is no error.
func (c *client) stream(ctx context.Context, path string, query url.Values, take func(line []byte) error) error {
	resp, err := c.open(ctx, path, query)
	if err != nil {
		return ended(ctx, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxStreamLine)
	for lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			if err := take(slices.Clone(line)); err != nil {
				return err
			}
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return ended(ctx, fmt.Errorf("stream of %s ended: %w", resp.Request.URL.Host, err))
}

// ended turns the end that was asked for into success.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
