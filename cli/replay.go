//go:build !zos

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"pando/agent"
	"pando/internal/durable"
	"pando/relay"
	"pando/root"
	"pando/transport"
	"pando/tree/journal"
	"pando/wal"
)

func newReplay(e *env) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "replay DIR",
		Short: "Step a stopped node's log again and compare every recorded output",
		Long: fmt.Sprintf(`Step the log in a node's data folder again, from its beginning or else from its
oldest checkpoint, and compare the hash of everything the node then said with
the hashes in its log. A node is a function of its log, so they are the same; if
they are not, the exit code is %d. The node must not run.`, exitIntegrity),
		Example: `  pando replay /var/lib/pando
  pando replay --role relay -o json data/relay1`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			view, err := replay(args[0], role)
			if err != nil {
				return err
			}
			if err := e.render(view, view.table()); err != nil {
				return err
			}
			if !view.Identical {
				return fmt.Errorf("replay %s: %w: %s", args[0], errDiffers, view.Fault)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "agent, relay or root; default: what the folder looks like")
	return cmd
}

// replayView is what the command prints.
type replayView struct {
	Dir  string `json:"dir"`
	Role string `json:"role"`
	journal.Report
}

func (v replayView) table() table {
	t := table{}
	result := "identical"
	if !v.Identical {
		result = "differs: " + v.Fault
	}
	t.add("role", v.Role)
	t.add("from record", v.From)
	t.add("records", v.Records)
	t.add("hashes compared", v.Hashes)
	t.add("result", result)
	return t
}

// replayers steps a data folder of each role.
func replayers() map[transport.Role]func(dir string) (journal.Report, error) {
	return map[transport.Role]func(dir string) (journal.Report, error){
		transport.RoleAgent: func(dir string) (journal.Report, error) { return agent.Replay(dir, durable.OS()) },
		transport.RoleRelay: func(dir string) (journal.Report, error) { return relay.Replay(dir, durable.OS()) },
		transport.RoleRoot:  replayRoot,
	}
}

func replayRoot(dir string) (journal.Report, error) { return root.Replay(root.ReplayOptions{Dir: dir}) }

func replay(dir, role string) (replayView, error) {
	roles, err := rolesOf(dir, role)
	if err != nil {
		return replayView{}, err
	}
	var tries []error
	for _, r := range roles {
		report, err := replayers()[r](dir)
		if err == nil {
			return replayView{Dir: dir, Role: string(r), Report: report}, nil
		}
		// Damage and a running node look the same to every role.
		var damage *wal.CorruptError
		if len(roles) == 1 || errors.As(err, &damage) || errors.Is(err, wal.ErrLocked) {
			return replayView{}, withLockHint(err)
		}
		tries = append(tries, fmt.Errorf("read as %s: %w", r, err))
	}
	return replayView{}, withHint(fmt.Errorf("replay %s: %w", dir, errors.Join(tries...)), "give --role if the folder's role is known")
}

func withLockHint(err error) error {
	if errors.Is(err, wal.ErrLocked) {
		return withHint(err, "stop the node first")
	}
	return err
}

// rolesOf returns the roles whose folder this may be. Opening an empty folder
// would make a log there, and say "identical" of nothing.
func rolesOf(dir, role string) ([]transport.Role, error) {
	if role != "" && replayers()[transport.Role(role)] == nil {
		return nil, &usageError{err: fmt.Errorf("--role %q: want agent, relay or root", role), command: "pando replay"}
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	var found []transport.Role
	if info, err := os.Stat(filepath.Join(dir, "raft")); err == nil && info.IsDir() {
		found = append(found, transport.RoleRoot)
	}
	if report, err := wal.Inspect(durable.OS(), filepath.Join(dir, "wal")); err == nil && (report.ID != 0 || report.Damage != nil) {
		found = append(found, transport.RoleAgent, transport.RoleRelay)
	}
	if role != "" && slices.Contains(found, transport.Role(role)) {
		return []transport.Role{transport.Role(role)}, nil
	}
	if len(found) == 0 || role != "" {
		what := "node"
		if role != "" {
			what = role
		}
		return nil, withHint(fmt.Errorf("replay: %s is not the data folder of a %s", dir, what), "give the folder that is \"dir\" in the node's configuration")
	}
	return found, nil
}
