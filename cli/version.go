package cli

import (
	"github.com/spf13/cobra"

	"pando/internal/ops"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which binary this is",
		Example: `  pando version
  pando version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := ops.ReadVersion()
			return e.render(v, table{rows: [][]string{{v.String()}}})
		},
	}
}
