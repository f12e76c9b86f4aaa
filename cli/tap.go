package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pando/event"
	"pando/transport"
	"pando/tree/tap"
)

// lookAround is how often a tap of the whole tree looks for relays that it
// does not watch yet.
const lookAround = 2 * time.Second

func newTap(e *env) *cobra.Command {
	var flags clientFlags
	var f tap.Filter
	cmd := &cobra.Command{
		Use:   "tap",
		Short: "Watch events and findings as they pass",
		Long: `Watch events and findings as they pass, until Ctrl-C. Without --node all relays
that the context's nodes know are watched, which is where every event passes;
with --node only that one. A root shows settled sections and findings.

In patterns * is any run of characters, slashes included, and ? one byte.
Watching never slows the tree: who reads too slowly misses events, and is told
how many.`,
		Example: `  pando tap --context tree.yaml
  pando tap --node 127.0.0.1:7543 --entity 'payments/*' --severity 17
  pando tap -o json --signal 'abend.*'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.MinSeverity < 0 || f.MinSeverity > int(event.MaxSeverity) {
				return &usageError{err: fmt.Errorf("--severity %d: want 0 to %d", f.MinSeverity, event.MaxSeverity), command: cmd.CommandPath()}
			}
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			t := &tapping{client: c, query: tapQuery(f), show: func(it *tap.Item) error { return e.showItem(it) }}
			if flags.node != "" {
				return t.node(cmd.Context(), c)
			}
			return t.tree(cmd.Context())
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().StringVar(&f.Entity, "entity", "", "only entities that match this pattern")
	cmd.Flags().StringVar(&f.Signal, "signal", "", "only signals that match this pattern")
	cmd.Flags().IntVar(&f.MinSeverity, "severity", 0, "only this severity and above: 9 info, 13 warn, 17 error, 21 fatal")
	return cmd
}

func tapQuery(f tap.Filter) url.Values {
	q := url.Values{}
	if f.Entity != "" {
		q.Set("entity", f.Entity)
	}
	if f.Signal != "" {
		q.Set("signal", f.Signal)
	}
	if f.MinSeverity > 0 {
		q.Set("severity", strconv.Itoa(f.MinSeverity))
	}
	return q
}

// tapping is one run of the command.
type tapping struct {
	client *client
	query  url.Values

	mu   sync.Mutex // guards show, so that lines do not mix
	show func(*tap.Item) error
}

// node watches the first node that answers.
func (t *tapping) node(ctx context.Context, c *client) error {
	return c.stream(ctx, "/v1/tap", t.query, func(line []byte) error {
		var it tap.Item
		if err := json.Unmarshal(line, &it); err != nil {
			return fmt.Errorf("tap: %w", err)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if err := t.show(&it); err != nil {
			return &outputError{err}
		}
		return nil
	})
}

// outputError says that what came could not be shown: there is no use in
// going on.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

// tree watches all relays, those that come later included. A relay that goes
// is watched again when it is back.
func (t *tapping) tree(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var streams sync.WaitGroup
	defer streams.Wait()
	var mu sync.Mutex
	watched := map[string]bool{}
	watch := func(addr string, c *client) {
		mu.Lock()
		defer mu.Unlock()
		if watched[addr] {
			return
		}
		watched[addr] = true
		streams.Go(func() {
			var out *outputError
			if err := t.node(ctx, c); errors.As(err, &out) {
				cancel(err)
			}
			// Otherwise the relay went, and is looked for again.
			mu.Lock()
			delete(watched, addr)
			mu.Unlock()
		})
	}
	again := time.NewTicker(lookAround)
	defer again.Stop()
	for first := true; ; first = false {
		var view treeView
		if err := t.client.get(ctx, "/v1/tree", nil, &view); err != nil && first {
			return ended(ctx, err)
		}
		relays := 0
		for _, n := range view.Nodes {
			if n.Role == string(transport.RoleRelay) && n.API != "" {
				watch(n.API, &client{http: t.client.http, addrs: []string{n.API}})
				relays++
			}
		}
		if first && relays == 0 {
			return t.node(ctx, t.client) // an agent was asked, or no relay tells its API
		}
		select {
		case <-ctx.Done():
			return ended(parent, context.Cause(ctx))
		case <-again.C:
		}
	}
}

// showItem prints one item in the chosen format: a JSON document a line, a
// YAML document each, or a line for people.
func (e *env) showItem(it *tap.Item) error {
	if e.output != outputTable {
		return e.renderNext(it)
	}
	if it.Missed > 0 {
		fmt.Fprintf(e.stderr, "pando: %d items passed too fast to be shown\n", it.Missed)
	}
	text := it.Text
	if it.Peer != "" {
		text = "→ " + it.Peer + "  " + text
	}
	_, err := fmt.Fprintf(e.stdout, "%s  %-5s  %s  %s  %s  %s\n", clockOf(it.Time), word(it), printable(it.Node, false),
		printable(it.Entity, false), printable(it.Signal, false), printable(text, false))
	return err
}

// clockOf is the time of day of an RFC 3339 time, to the microsecond.
func clockOf(stamp string) string {
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return stamp
	}
	return at.Local().Format("15:04:05.000000")
}

// word is an event's severity, or what else the item is.
func word(it *tap.Item) string {
	if it.What != "event" {
		return it.What
	}
	return severityWord(event.Severity(it.Severity))
}

func severityWord(s event.Severity) string {
	switch {
	case s >= event.SeverityFatal:
		return "fatal"
	case s >= event.SeverityError:
		return "error"
	case s >= event.SeverityWarn:
		return "warn"
	case s >= event.SeverityInfo:
		return "info"
	case s > event.SeverityUnknown:
		return "debug"
	}
	return "-"
}
