//go:build !zos

package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pando/event"
	"pando/incident"
	"pando/root"
)

func newIncident(e *env) *cobra.Command {
	group := newGroup("incident", "List, show and watch incidents",
		newIncidentList(e),
		newIncidentShow(e),
		newIncidentWatch(e),
	)
	group.Long = `List, show and watch incidents: findings that belong together, in causal order.
Reads are linearizable, so what a root acknowledged before is in the answer;
without a majority of the roots they fail, unless --stale allows an old answer.`
	return group
}

func newIncidentList(e *env) *cobra.Command {
	var flags readFlags
	var at string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List incidents, newest last",
		Long: `List incidents, newest last.

With --at relay, or --at and a relay's name, list what a relay that is cut off
from the roots makes of its own findings. Such incidents are provisional: no
root has committed them, and nothing acts on them. Once the relay reaches the
roots again, their incident takes the provisional one's place, and its id leads
there.`,
		Example: `  pando incident list --context tree.yaml
  pando incident list -o json
  pando incident list --at eu/relay1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.narrow(cmd.Context(), at); err != nil {
				return err
			}
			var view struct {
				Incidents []incident.Summary `json:"incidents"`
			}
			if err := c.get(cmd.Context(), "/v1/incidents", flags.query(), &view); err != nil {
				return err
			}
			t := table{columns: []string{"incident", "status", "severity", "opened", "first", "entities", "findings", "summary"}}
			for _, i := range view.Incidents {
				t.add(i.ID, statusWords(i.Status, i.Provisional), severityWord(event.Severity(i.Severity)), moment(i.Opened), i.First, len(i.Entities), i.Findings, i.Summary)
			}
			return e.render(view, t)
		},
	}
	addReadFlags(cmd, &flags)
	addAtFlag(cmd, &at)
	return cmd
}

func newIncidentShow(e *env) *cobra.Command {
	var flags readFlags
	var at string
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show an incident's timeline with its evidence",
		Long: `Show an incident's findings in causal order. The order is a claim with its
reason: a finding is before or after the onset where a causal link proves it or
the intervals of both are disjoint, otherwise they are concurrent. Each finding
names the interval in which it began and the events that it rests on.`,
		Example: `  pando incident show INC-7QXK2M4D6A
  pando incident show INC-7QXK2M4D6A -o yaml
  pando incident show INC-7QXK2M4D6A --at eu/relay1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			if err := c.narrow(cmd.Context(), at); err != nil {
				return err
			}
			var d incident.Detail
			if err := c.get(cmd.Context(), "/v1/incidents/"+url.PathEscape(args[0]), flags.query(), &d); err != nil {
				return err
			}
			if e.output != outputTable {
				return e.render(d, table{})
			}
			return e.showIncident(&d)
		},
	}
	addReadFlags(cmd, &flags)
	addAtFlag(cmd, &at)
	return cmd
}

// statusWords marks what no root has committed.
func statusWords(status string, provisional bool) string {
	if provisional {
		return "provisional, " + status
	}
	return status
}

// showIncident prints a head, the timeline and the evidence.
func (e *env) showIncident(d *incident.Detail) error {
	head := table{}
	head.add("incident", d.ID)
	head.add("status", statusWords(d.Status, d.Provisional))
	head.add("severity", severityWord(event.Severity(d.Severity)))
	head.add("first", d.First)
	head.add("opened", moment(d.Opened))
	if d.Resolved != 0 {
		head.add("resolved", moment(d.Resolved))
	}
	head.add("entities", strings.Join(d.Entities, ", "))
	if len(d.Aliases) > 0 {
		head.add("also known as", strings.Join(d.Aliases, ", "))
	}
	head.add("log index", d.Index)

	timeline := table{columns: []string{"#", "began", "±", "relation", "entity", "signal", "class", "by", "summary"}}
	proof := table{columns: []string{"#", "events of", "from", "to", "log index"}}
	for n, f := range d.Findings {
		relation := f.Relation
		if n == 0 {
			relation = "onset"
		}
		timeline.add(n+1, moment(f.Point), span((f.Onset.Hi-f.Onset.Lo)/2), relation, f.Entity, f.Signal, f.Class, detector(&f), f.Summary)
		for _, x := range f.Evidence {
			proof.add(n+1, x.Unit, x.From, x.To, f.Index)
		}
	}
	for i, t := range []table{head, timeline, proof} {
		if i > 0 {
			if _, err := fmt.Fprintln(e.stdout); err != nil {
				return err
			}
		}
		if err := e.render(nil, t); err != nil {
			return err
		}
	}
	return nil
}

// detector names who said it: a rule by its name.
func detector(f *incident.Line) string {
	if f.Rule != "" {
		return f.Detector + " " + f.Rule
	}
	return f.Detector
}

func newIncidentWatch(e *env) *cobra.Command {
	var flags clientFlags
	var from uint64
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Watch incidents open, change, merge and end",
		Long: `Watch what happens to incidents, until Ctrl-C: first the changes that the root
still remembers, from --from on, then each as it is committed.`,
		Example: `  pando incident watch
  pando incident watch --from 4711 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			query := url.Values{"from": {strconv.FormatUint(from, 10)}}
			return c.stream(cmd.Context(), "/v1/incidents/watch", query, func(line []byte) error {
				var change root.Change
				if err := json.Unmarshal(line, &change); err != nil {
					return fmt.Errorf("watch incidents: %w", err)
				}
				return e.showChange(&change)
			})
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().Uint64Var(&from, "from", 0, "Raft index to begin at")
	return cmd
}

func (e *env) showChange(c *root.Change) error {
	if e.output != outputTable {
		return e.renderNext(c)
	}
	text := c.Kind
	if c.Into != "" {
		text += " with " + c.Into
	}
	if c.First != "" {
		text += fmt.Sprintf("  first %s, %d findings: %s", c.First, c.Findings, c.Summary)
	}
	_, err := fmt.Fprintf(e.stdout, "%s  %s  %s\n", moment(c.At), c.ID, printable(text, false))
	return err
}

// moment is root time as local time of this machine.
func moment(ns int64) string { return time.Unix(0, ns).Format("2006-01-02 15:04:05.000") }
