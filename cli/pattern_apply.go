//go:build !zos

package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"pando/internal/pack"
	"pando/root"
	"pando/stream/cep"
)

func newPatternApply(e *env) *cobra.Command {
	var flags clientFlags
	var try, none bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Put a file of patterns in force, in place of those before",
		Long: `Put the patterns of a file in force: those of scope root at the roots, over
findings; those of scope relay at every relay, over events. The file is checked
and compiled here, and what the roots commit is the compiled set.

It takes the place of the whole set before, so what is not in the file is
removed. Runs of a pattern whose meaning stays go on, though its finding may say
something else; one that changes begins anew. With --dry-run nothing happens but
that this is said. Relays that cannot be reached get the set when they come back.`,
		Example: `  pando pattern apply patterns.yaml --dry-run
  pando pattern apply patterns.yaml --context tree.yaml
  pando pattern apply empty.yaml --none`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := readPatterns(args[0])
			if err == nil && !none {
				err = wantPatterns(args[0], set)
			}
			if err != nil {
				return err
			}
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			var done root.AppliedPatterns
			if err := c.patient(changeTimeout).send(cmd.Context(), patternsRequest(set, try), &done); err != nil {
				return err
			}
			return e.render(done, appliedTable(&done, set))
		},
	}
	addClientFlags(cmd, &flags)
	cmd.Flags().BoolVar(&try, "dry-run", false, "only say what would change")
	cmd.Flags().BoolVar(&none, "none", false, "allow a file without a pattern: all are removed")
	return cmd
}

// patternsRequest posts a set as the roots commit it.
func patternsRequest(set *cep.Set, try bool) request {
	w := pack.NewWriter()
	set.Append(w)
	q := request{method: http.MethodPost, path: "/v1/patterns", query: url.Values{}, kind: "application/octet-stream", size: int64(w.Len()),
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(w.Bytes())), nil }}
	if try {
		q.query.Set("dry_run", "true")
	}
	return q
}

// appliedTable has a line for each pattern that was or is, and what all of them
// may take.
func appliedTable(done *root.AppliedPatterns, set *cep.Set) table {
	scopes, bounds := map[string]string{}, map[string]int{}
	for _, p := range set.Patterns() {
		scopes[p.Name], bounds[p.Name] = p.Scope.String(), p.Bound().Bytes
	}
	t := table{columns: []string{"pattern", "change", "scope", "bytes"}}
	for _, kind := range []struct {
		word  string
		names []string
	}{{"added", done.Added}, {"changed", done.Changed}, {"reworded", done.Reworded}, {"removed", done.Removed}, {"unchanged", done.Unchanged}} {
		for _, name := range kind.names {
			if kind.word == "removed" {
				t.add(name, kind.word, "", "")
				continue
			}
			t.add(name, kind.word, scopes[name], bounds[name])
		}
	}
	t.add("all of scope root", "", "", done.RootBytes)
	t.add("all of scope relay", "", "", done.RelayBytes)
	state := "in force since entry"
	if !done.Applied {
		state = "not applied; in force is entry"
	}
	t.add(state, done.Version, "", "")
	return t
}
