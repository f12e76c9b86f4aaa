package cli

import (
	"github.com/spf13/cobra"

	"pando/transport"
)

// treeCommands: z/OS has the agent only.
func treeCommands(*env) []*cobra.Command { return nil }

func configLoaders() map[transport.Role]func(path string) (*transport.Credentials, error) {
	return map[transport.Role]func(path string) (*transport.Credentials, error){transport.RoleAgent: checkAgent}
}
