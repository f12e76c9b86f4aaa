//go:build !zos

package relay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"pando/tree/gossip"
	"pando/tree/journal"
)

// Reconfigure puts new detectors, windows, parents' addresses and gossip keys into force
// while the relay runs. No session ends, and detectors and windows go on with
// what they know. The other options are those of [New] for good, and are not looked
// at. It returns what it touched. An error means that nothing changed: the options
// are not valid, or the log takes nothing.
func (r *Relay) Reconfigure(o Options) (touched []string, err error) {
	next := r.opts
	next.Parents, next.Analysis = o.Parents, o.Analysis
	if err := next.Validate(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	config, err := next.analysisYAML()
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if err := checkAnalysis(config); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	rekeyed := r.pool != nil && o.Gossip != nil && !sameKeys(r.pool.Keys(), o.Gossip.Keys)
	if rekeyed {
		if err := gossip.CheckKeys(o.Gossip.Keys); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
	}
	// First what may be refused although the options are valid: a full log
	// takes no detectors, as its end is for the next start. The keys then fail
	// only in a pool that has closed.
	var old []byte
	r.journal.View(func(c journal.Core) { old = bytes.Clone(c.(*core).config) })
	if !bytes.Equal(old, config) {
		if _, err := r.journal.AppendAs(journal.Upkeep, recConfig, config, true); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		r.owing.Lock()
		r.owed.config = nil
		r.owing.Unlock()
		touched = append(touched, "detectors and windows")
	}
	if rekeyed {
		if err := r.pool.SetKeys(o.Gossip.Keys); err != nil {
			if len(touched) > 0 {
				_, undone := r.journal.Append(recConfig, old, true)
				err = errors.Join(err, undone)
			}
			return nil, fmt.Errorf("relay: %w", err)
		}
		touched = append(touched, "gossip keys")
	}
	r.up.SetSeeds(next.Parents)
	return touched, nil
}

// sameKeys reports whether the same key encrypts, and the same ones decrypt.
func sameKeys(a, b [][]byte) bool {
	if len(a) != len(b) || len(a) == 0 || !bytes.Equal(a[0], b[0]) {
		return false
	}
	return !slices.ContainsFunc(a, func(k []byte) bool {
		return !slices.ContainsFunc(b, func(l []byte) bool { return bytes.Equal(k, l) })
	})
}
