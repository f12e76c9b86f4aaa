package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// newExitCodes is a topic of the help that scripts' authors look for.
func newExitCodes(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exit-codes",
		Short: "Say what the exit codes mean",
		Long: `Exit codes are an interface: scripts and monitoring may decide by them.

` + exitHelp() + `

Code 2 means that a retry is useless until somebody changes something; code 1
may pass, as when no node answers. Code 3 comes after the output was complete.
Code 4 asks for a person: never restart in a loop after it.`,
		Example: `  pando exit-codes
  pando help exit-codes`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		_, err := io.WriteString(e.stdout, fmt.Sprintln(cmd.Long))
		return err
	}
	return cmd
}
