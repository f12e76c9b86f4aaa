package cli

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pando/tree/status"
)

func newTree(e *env) *cobra.Command {
	var flags readFlags
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Show every node: role, parent, state, lag, clock, rate, disk",
		Long: fmt.Sprintf(`Show every node of the tree as the roots know it from the nodes' own reports,
which are a second or two old. LAG counts events on a node that the root has not
settled yet. SKEW is how far the node's clock is from root time, ± the bound of
the error; Pando orders events by root time, so a skew does no harm.

A node that is "cloned" shares its certificate with another one: find the copy
and issue its own with pando ca issue.

The exit code is %d if a node is not well.`, exitDegraded),
		Example: `  pando tree --context tree.yaml
  pando tree --node 127.0.0.1:7443 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			var view treeView
			if err := c.get(cmd.Context(), "/v1/tree", flags.query(), &view); err != nil {
				return err
			}
			view.sort()
			if err := e.render(view, view.table()); err != nil {
				return err
			}
			return view.fault()
		},
	}
	addReadFlags(cmd, &flags)
	return cmd
}

// treeView is a node's answer to /v1/tree.
type treeView struct {
	Nodes []status.Node `json:"nodes"`
}

// rank puts the tree's top first.
func rank(role string) int { return slices.Index([]string{"root", "relay", "agent"}, role) }

// sort orders nodes by role; relays from the upper tiers down.
func (v *treeView) sort() {
	parents := map[string]string{} // of relays
	for _, n := range v.Nodes {
		if n.Role == "relay" {
			parents[n.Name] = n.Parent
		}
	}
	tier := func(n status.Node) (depth int) {
		for at := n.Name; depth <= len(parents); depth++ { // reports may contradict each other
			parent, isRelay := parents[at]
			if !isRelay {
				break
			}
			at = parent
		}
		return depth
	}
	slices.SortFunc(v.Nodes, func(a, b status.Node) int {
		byTier := 0
		if a.Role == "relay" {
			byTier = cmp.Compare(tier(a), tier(b))
		}
		return cmp.Or(cmp.Compare(rank(a.Role), rank(b.Role)), byTier, cmp.Compare(a.Region, b.Region), cmp.Compare(a.Name, b.Name))
	})
}

func (v *treeView) table() table {
	t := table{columns: []string{"role", "node", "region", "parent", "state", "lag", "skew", "events/s", "wal"}}
	for _, n := range v.Nodes {
		t.add(n.Role, n.Name, n.Region, n.Parent, n.State, n.Lag, skew(n), fmt.Sprintf("%.1f", n.EventsPerS), bytesText(n.WALBytes))
	}
	return t
}

// fault is errDegraded if a node is not well.
func (v *treeView) fault() error {
	well := []string{"live", "leader", "follower", "unknown"} // unknown: a new leader was not told yet
	bad := 0
	first := ""
	for _, n := range v.Nodes {
		if !slices.Contains(well, n.State) {
			if bad == 0 {
				first = fmt.Sprintf("%s is %s", n.Name, n.State)
			}
			bad++
		}
	}
	switch bad {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w: %s", errDegraded, first)
	}
	return fmt.Errorf("%w: %s, and %d more nodes are not well", errDegraded, first, bad-1)
}

// skew shows a clock's offset and the bound of its error, or nothing while it
// is unknown.
func skew(n status.Node) string {
	if !n.Skewed {
		return ""
	}
	return signed(n.SkewNs) + " ± " + span(n.SkewBoundNs)
}

func signed(ns int64) string {
	if ns > 0 {
		return "+" + span(ns)
	}
	return span(ns)
}

// span is a duration with three or so digits that matter.
func span(ns int64) string {
	d := time.Duration(ns)
	switch a := max(d, -d); {
	case a >= 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case a >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case a >= 10*time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	case a >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	case a >= time.Microsecond:
		d = d.Round(time.Microsecond)
	}
	return d.String()
}

// bytesText is a size with one digit behind the point.
func bytesText(n int64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if float64(n) >= u.size {
			return fmt.Sprintf("%.1f%s", float64(n)/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
