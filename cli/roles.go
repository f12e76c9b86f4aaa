//go:build !zos

package cli

import (
	"github.com/spf13/cobra"

	"pando/transport"
)

// treeCommands are those that need a relay's or a root's code.
func treeCommands(e *env) []*cobra.Command {
	return []*cobra.Command{newBench(e), newDemo(e), newGossip(e), newIncident(e), newLedger(e), newPattern(e), newRelay(e), newReplay(e), newRootRole(e), newSeries(e), newSim(e), newWindows(e)}
}

// configLoaders read and judge a configuration file without running anything.
func configLoaders() map[transport.Role]func(path string) (*transport.Credentials, error) {
	return map[transport.Role]func(path string) (*transport.Credentials, error){
		transport.RoleAgent: checkAgent,
		transport.RoleRelay: func(path string) (*transport.Credentials, error) {
			_, opts, err := loadRelay(path, &roleFlags{})
			return opts.Credentials, err
		},
		transport.RoleRoot: func(path string) (*transport.Credentials, error) {
			_, opts, err := loadRoot(path, &roleFlags{})
			return opts.Credentials, err
		},
	}
}
