//go:build !zos

package consensus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// Recovery is what [Recover] found, and made of it.
type Recovery struct {
	Index  uint64 // newest entry in the folder
	Term   uint64
	Before Group // the newest configuration in the folder, committed or not
	After  Group
}

// ErrNoMember reports a folder that holds no member of a group.
var ErrNoMember = errors.New("not the folder of a raft member")

// Survey tells what [Recover] would begin with. It changes no more than a
// start does, which cuts a torn tail; the member must not run.
func Survey(dir string, store Store, log *slog.Logger) (rec Recovery, err error) {
	s, err := openExisting(dir, store, log)
	if err != nil {
		return rec, fmt.Errorf("survey: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if rec, err = s.survey(); err != nil {
		return rec, fmt.Errorf("survey %s: %w", dir, err)
	}
	return rec, nil
}

// Recover makes the member self of a group whose majority is lost the member
// of another group: those given, of which it is one with a vote. Every entry
// in the folder becomes committed, also those that no majority had. The
// member must not run, and fsm must be fresh. Lost members that come back
// with their folders know nothing of it, and would be a second group.
//
// A crash leaves the folder as it was, or recovered: the new state is a
// snapshot, which counts once it is whole.
func Recover(dir string, store Store, fsm FSM, self string, members []Member, log *slog.Logger) (rec Recovery, err error) {
	if err := checkMembers(members, self); err != nil {
		return rec, fmt.Errorf("recover: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := openExisting(dir, store, log)
	if err != nil {
		return rec, fmt.Errorf("recover: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if rec, err = s.survey(); err != nil {
		return rec, fmt.Errorf("recover %s: %w", dir, err)
	}
	config := raft.DefaultConfig()
	config.LocalID, config.NoLegacyTelemetry, config.Logger = raft.ServerID(self), true, newHCLog(log)
	a := newApplier(fsm, func(error) {})
	_, transport := raft.NewInmemTransport("")
	err = raft.RecoverCluster(config, a, s.logs, s.stable, s.snapshots, transport, configurationOf(members))
	if err := errors.Join(a.failed, err); err != nil {
		return rec, fmt.Errorf("recover %s: %w", dir, err)
	}
	after, err := s.survey()
	switch {
	case err != nil:
		return rec, fmt.Errorf("recover %s: %w", dir, err)
	case after.Index != rec.Index || after.Term != rec.Term:
		return rec, fmt.Errorf("recover %s: it held entries up to %d of term %d, and now up to %d of term %d", dir, rec.Index, rec.Term, after.Index, after.Term)
	}
	rec.After = after.Before
	return rec, nil
}

func configurationOf(members []Member) raft.Configuration {
	var c raft.Configuration
	for _, m := range members {
		suffrage := raft.Voter
		if !m.Voter {
			suffrage = raft.Nonvoter
		}
		c.Servers = append(c.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Addr)})
	}
	return c
}

func checkMembers(members []Member, self string) error {
	var list []Server
	votes := false
	for _, m := range members {
		list = append(list, m.Server)
		votes = votes || m.ID == self && m.Voter
	}
	if err := checkServers(list, self); err != nil {
		return err
	}
	if !votes {
		return fmt.Errorf("servers: this member, %q, must have a vote", self)
	}
	return nil
}

// openExisting opens the stores of a member that does not run.
func openExisting(dir string, store Store, log *slog.Logger) (*stores, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if _, err := os.Stat(filepath.Join(dir, stableFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: %w", dir, stableFile, ErrNoMember)
	}
	o := DefaultOptions()
	o.Dir, o.Store, o.Logger = dir, store, log
	return openStores(o, newHCLog(log), newMetrics(nil, nil), func(error) {})
}

// survey finds the newest entry and configuration on disk.
func (s *stores) survey() (rec Recovery, err error) {
	list, err := s.snapshots.List() // newest first
	if err != nil {
		return rec, err
	}
	if len(list) > 0 {
		rec.Index, rec.Term = list[0].Index, list[0].Term
		rec.Before = *groupOf(list[0].ConfigurationIndex, list[0].Configuration)
	}
	first, err := s.logs.FirstIndex()
	if err != nil {
		return rec, err
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return rec, err
	}
	for i := max(first, rec.Index+1); first > 0 && i <= last; i++ {
		var l raft.Log
		if err := s.logs.GetLog(i, &l); err != nil {
			return rec, fmt.Errorf("entry %d: %w", i, err)
		}
		rec.Index, rec.Term = l.Index, l.Term
		if l.Type == raft.LogConfiguration {
			rec.Before = *groupOf(l.Index, raft.DecodeConfiguration(l.Data))
		}
	}
	if rec.Index == 0 {
		return rec, fmt.Errorf("it holds no entry: %w", ErrNoMember)
	}
	return rec, nil
}

// maxPeers bounds a peers.json: a list of nine members is far below it.
const maxPeers = 1 << 20

// ReadPeers reads a list of members in the form that Consul, Nomad and rqlite
// recover from, peers.json: [{"id": …, "address": …, "non_voter": …}].
func ReadPeers(in io.Reader) ([]Member, error) {
	var list []struct {
		ID       string `json:"id"`
		Address  string `json:"address"`
		NonVoter bool   `json:"non_voter"`
	}
	d := json.NewDecoder(io.LimitReader(in, maxPeers))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("want a list of {\"id\", \"address\", \"non_voter\"}: %w", err)
	}
	var members []Member
	for _, p := range list {
		members = append(members, Member{Server{ID: p.ID, Addr: p.Address}, !p.NonVoter})
	}
	return members, nil
}
