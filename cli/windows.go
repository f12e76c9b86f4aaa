//go:build !zos

package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pando/relay"
	"pando/stream"
)

// followEvery is the pause between two questions of who follows a window.
const followEvery = 500 * time.Millisecond

// windowsView is the answer on one window.
type windowsView struct {
	Results []relay.WindowResult `json:"results"`
	Next    uint64               `json:"next"`
	Missed  uint64               `json:"missed"`
}

func newWindows(e *env) *cobra.Command {
	var flags clientFlags
	var at, entity, signal string
	var follow bool
	cmd := &cobra.Command{
		Use:   "windows [NAME]",
		Short: "Show what the windows of a relay add up to",
		Long: `Without NAME list the windows that a relay computes, as its configuration defines
them ("windows"), with what was irregular: LATE events changed a result that had
been told, EXPIRED ones came too late for that, FOLDED ones are counted in
__other__, since there were more groups than max_groups.

With NAME show the latest results of that window, one line for each group. UNITS
says how many of the agents' lanes were waited for: in 37/38 one was silent, and
its events may be missing. A result is PARTIAL if the window was defined after its
start. A REVISION above 1 has late events in it. The units of VALUE are those of
the events; a quantile is at most 1 % off.

With --follow go on with every result as it is told, revisions included, until
Ctrl-C; with -o json one JSON object a line.`,
		Example: `  pando windows --context tree.yaml --at eu/relay1
  pando windows latency --at relay -o json
  pando windows latency --follow --signal 'http.*'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow && len(args) == 0 {
				return &usageError{err: fmt.Errorf("--follow: which window is meant?"), suggestion: "pando windows NAME --follow", command: cmd.CommandPath()}
			}
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.narrow(cmd.Context(), at); err != nil {
				return err
			}
			if len(args) == 0 {
				return e.listWindows(cmd.Context(), c)
			}
			w := windowReading{env: e, client: c, path: "/v1/windows/" + url.PathEscape(args[0]), entity: entity, signal: signal}
			view, err := w.latest(cmd.Context())
			if err != nil || !follow {
				return err
			}
			return w.follow(cmd.Context(), view.Next)
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().StringVar(&at, "at", "relay", "the relay to ask: its name, such as eu/relay1, or relay if it is the only one")
	cmd.Flags().StringVar(&entity, "entity", "", "only groups whose entity matches this pattern (* and ?)")
	cmd.Flags().StringVar(&signal, "signal", "", "only groups whose signal matches this pattern")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with what is told from now on")
	return cmd
}

func (e *env) listWindows(ctx context.Context, c *client) error {
	var view struct {
		Windows []relay.WindowState `json:"windows"`
	}
	if err := c.get(ctx, "/v1/windows", nil, &view); err != nil {
		return err
	}
	t := table{columns: []string{"window", "groups", "slices", "watermark", "late", "expired", "folded", "refused", "undetailed"}}
	for _, w := range view.Windows {
		t.add(w.Window, w.Groups, w.Slices, w.Mark, w.Late, w.Expired, w.Folded, w.Refused, w.Undetailed)
	}
	return e.render(view, t)
}

// windowReading reads one window.
type windowReading struct {
	env            *env
	client         *client
	path           string
	entity, signal string // patterns
}

func (w *windowReading) get(ctx context.Context, q url.Values) (view windowsView, err error) {
	var all windowsView
	if err := w.client.get(ctx, w.path, q, &all); err != nil {
		return view, err
	}
	view.Results, view.Next, view.Missed = []relay.WindowResult{}, all.Next, all.Missed
	for _, x := range all.Results {
		if stream.Match(w.entity, x.Entity) && stream.Match(w.signal, x.Signal) {
			view.Results = append(view.Results, x)
		}
	}
	return view, nil
}

// latest shows the latest results.
func (w *windowReading) latest(ctx context.Context) (view windowsView, err error) {
	if view, err = w.get(ctx, nil); err != nil {
		return view, err
	}
	return view, w.env.render(view, windowTable(view.Results, true))
}

// follow shows what comes after a result until ctx is done.
func (w *windowReading) follow(ctx context.Context, next uint64) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		view, err := w.get(ctx, url.Values{"after": {strconv.FormatUint(next, 10)}})
		if err != nil {
			return ended(ctx, err)
		}
		next = view.Next
		if view.Missed > 0 {
			fmt.Fprintf(w.env.stderr, "%d results came faster than they were read\n", view.Missed)
		}
		if err := w.show(view.Results); err != nil {
			return err
		}
	}
}

// show writes results below those before.
func (w *windowReading) show(results []relay.WindowResult) error {
	if w.env.output == outputTable {
		if len(results) == 0 {
			return nil
		}
		return w.env.render(nil, windowTable(results, false))
	}
	for i := range results {
		if err := w.env.renderNext(results[i]); err != nil {
			return err
		}
	}
	return nil
}

func windowTable(results []relay.WindowResult, head bool) table {
	var t table
	if head {
		t.columns = []string{"end", "entity", "signal", "count", "mean", "min", "max", "quantiles", "distinct", "top", "units", "revision"}
	}
	for i := range results {
		x := &results[i]
		var quantiles, distinct, top []string
		for _, q := range x.Quantiles {
			quantiles = append(quantiles, fmt.Sprintf("p%s=%s", number(100*q.Q), number(q.Value)))
		}
		for _, d := range x.Distinct {
			distinct = append(distinct, fmt.Sprintf("%s=%d", d.Of, d.Count))
		}
		for _, r := range x.Top {
			var entries []string
			for _, n := range r.Entries {
				entries = append(entries, fmt.Sprintf("%s:%d", n.Name, n.Count))
			}
			top = append(top, r.Of+"="+strings.Join(entries, ","))
		}
		revision := fmt.Sprint(x.Revision)
		if x.Partial {
			revision += " (partial)"
		}
		t.add(x.End, x.Entity, x.Signal, x.Count, number(x.Mean), number(x.Min), number(x.Max), strings.Join(quantiles, " "),
			strings.Join(distinct, " "), strings.Join(top, " "), fmt.Sprintf("%d/%d", x.Active, x.Units), revision)
	}
	return t
}

// number is v with as many digits as people read.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
