//go:build !zos

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"pando/root"
	"pando/root/consensus"
	"pando/wal"
)

func newRootRecover(e *env) *cobra.Command {
	var flags roleFlags
	var peers string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover --config FILE",
		Short: "Begin a new group from one stopped root after the majority was lost",
		Long: `LAST RESORT, for when a majority of the roots is lost for good. It makes one
stopped root the beginning of a new group, alone or with those in --peers, and
declares committed all that this root has.

  - What only the lost roots had is lost: agents and relays send again what they
    still keep, and count on what was acknowledged to them.
  - NEVER start a lost root again with its old folder: two of three would be a
    second group beside this one, and both would go on. Destroy the folders.
  - Choose the root with the highest index; run this without --yes on each to
    see it. Run it with --yes on ONE root, or, with the same --peers, on each
    root that is in the list and still has its folder.

Nothing that this root has is removed. Afterwards start it with its usual
command line, and add fresh roots by "pando root add".

--peers is a file [{"id": "core/root1", "address": "10.0.0.1:7072"}, …] of the new
group's roots with their Raft addresses, this one included; default: this one.`,
		Example: `  pando root recover --config /etc/pando/root.yaml
  pando root recover --config /etc/pando/root.yaml --yes
  pando root recover --config root.yaml --peers peers.json --yes`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, opts, err := loadRoot(flags.config, &flags)
			if err != nil {
				return err
			}
			o := root.RecoverOptions{Dir: opts.Dir, Store: opts.Raft.Store, Name: opts.Credentials.Identity().Node()}
			if o.Members, err = newGroupOf(peers, opts, o.Name); err != nil {
				return err
			}
			if o.Logger, err = e.logger(); err != nil {
				return err
			}
			return recoverRoot(e, o, yes)
		},
	}
	cmd.Flags().StringVar(&flags.config, "config", "", "configuration file of the root (required)")
	cmd.Flags().StringVar(&flags.dir, "dir", "", "data folder, instead of the file's dir")
	cmd.Flags().StringVar(&peers, "peers", "", "file with the new group's roots; default: this root alone")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it: the lost roots must never come back with their folders")
	require(cmd, "config")
	return cmd
}

// newGroupOf is the group to be: that of the file, or the root by itself.
func newGroupOf(peers string, opts root.Options, name string) ([]consensus.Member, error) {
	if peers != "" {
		f, err := os.Open(peers)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		list, err := consensus.ReadPeers(f)
		if err != nil {
			return nil, &usageError{err: fmt.Errorf("%s: %w", peers, err), command: "pando root recover"}
		}
		return list, nil
	}
	addr := cmp.Or(opts.Raft.Advertise, opts.Raft.Bind)
	for _, s := range opts.Servers {
		if s.Name == name {
			addr = s.Raft
		}
	}
	return []consensus.Member{{Server: consensus.Server{ID: name, Addr: addr}, Voter: true}}, nil
}

// recoveryView is what the command prints.
type recoveryView struct {
	Root   string             `json:"root"`
	Dir    string             `json:"dir"`
	Index  uint64             `json:"index"`
	Term   uint64             `json:"term"`
	Before []consensus.Member `json:"before"`
	After  []consensus.Member `json:"after"`
	Done   bool               `json:"done"`
}

func (v *recoveryView) table() table {
	t := table{}
	t.add("root", v.Root)
	t.add("folder", v.Dir)
	t.add("newest entry", fmt.Sprintf("%d of term %d", v.Index, v.Term))
	for what, list := range [2][]consensus.Member{v.Before, v.After} {
		for _, m := range list {
			suffrage := "voter"
			if !m.Voter {
				suffrage = "nonvoter"
			}
			t.add([2]string{"group was", "group is to be"}[what], fmt.Sprintf("%s at %s, %s", m.ID, m.Addr, suffrage))
		}
	}
	return t
}

func recoverRoot(e *env, o root.RecoverOptions, yes bool) error {
	act := root.Survey
	if yes {
		act = root.Recover
	}
	rec, err := act(o)
	switch {
	case errors.Is(err, consensus.ErrNoMember):
		return withHint(err, "give the root's own configuration; its \"dir\" holds the folder raft")
	case errors.Is(err, wal.ErrCorrupt), errors.Is(err, root.ErrLogic):
		return rootDamage(err)
	case err != nil:
		return withHint(err, "the root must be stopped")
	}
	view := recoveryView{Root: o.Name, Dir: o.Dir, Index: rec.Index, Term: rec.Term, Before: rec.Before.Members, After: o.Members, Done: yes}
	if err := e.render(view, view.table()); err != nil {
		return err
	}
	if !yes {
		return &usageError{err: errors.New("nothing was changed: this gives the lost roots up for good, and what only they had"),
			suggestion: "see \"pando root recover --help\"; compare the newest entry of every root that is left; then give --yes on one"}
	}
	return nil
}
