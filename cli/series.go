//go:build !zos

package cli

import (
	"github.com/spf13/cobra"

	"pando/root"
	"pando/stream"
)

func newSeries(e *env) *cobra.Command {
	var flags readFlags
	var entity, signal string
	cmd := &cobra.Command{
		Use:   "series",
		Short: "Show what is settled at the root, by entity and signal",
		Long: `Show how many events of each series the roots have settled, and the exact sum of
their values. With numbered lines, count and sum tell a lost line from a doubled
one. In patterns * is any run of characters, slashes included, and ? one byte.`,
		Example: `  pando series --context tree.yaml
  pando series --entity 'payments/*' -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.connect()
			if err != nil {
				return err
			}
			defer c.close()
			var all, view struct {
				Series []root.Series `json:"series"`
			}
			if err := c.get(cmd.Context(), "/v1/series", flags.query(), &all); err != nil {
				return err
			}
			view.Series = []root.Series{}
			t := table{columns: []string{"entity", "signal", "count", "sum", "first", "last"}}
			for _, s := range all.Series {
				if !stream.Match(entity, s.Entity) || !stream.Match(signal, s.Signal) {
					continue
				}
				view.Series = append(view.Series, s)
				t.add(s.Entity, s.Signal, s.Count, s.SumExact, moment(s.First), moment(s.Last))
			}
			return e.render(view, t)
		},
	}
	addReadFlags(cmd, &flags)
	cmd.Flags().StringVar(&entity, "entity", "", "only entities that match this pattern")
	cmd.Flags().StringVar(&signal, "signal", "", "only signals that match this pattern")
	return cmd
}
