package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|fish|powershell|zsh",
		Short: "Print a script that completes commands and flags in a shell",
		Long: `Print a script that completes Pando's commands and flags in a shell. Load it
once to try it, or install it for every new shell as in the examples.`,
		Example: `  # this shell only
  source <(pando completion bash)

  # every new shell
  pando completion bash > /etc/bash_completion.d/pando
  pando completion zsh > "${fpath[1]}/_pando"
  pando completion fish > ~/.config/fish/completions/pando.fish
  pando completion powershell >> $PROFILE`,
		ValidArgs: []string{"bash", "fish", "powershell", "zsh"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.stdout, true)
			case "fish":
				return root.GenFishCompletion(e.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(e.stdout)
			case "zsh":
				return root.GenZshCompletion(e.stdout)
			}
			return fmt.Errorf("completion: no script for shell %q", args[0])
		},
	}
}
