//go:build !zos

package relay

import (
	"bytes"
	"fmt"

	"pando/tree/journal"
)

// Reconfigure puts new detectors, parents' addresses and gossip keys into force
// while the relay runs. No session ends, and the detectors go on with what
// they know. The other options are those of [New] for good, and are not looked
// at. It returns what it touched. Options that are not valid change nothing.
func (r *Relay) Reconfigure(o Options) (touched []string, err error) {
	next := r.opts
	next.Parents, next.Detectors = o.Parents, o.Detectors
	if err := next.Validate(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	config, err := next.detectorsYAML()
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if _, err := engineOf(config); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if r.pool != nil && o.Gossip != nil {
		if err := r.pool.SetKeys(o.Gossip.Keys); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
	}
	changed := false
	r.journal.View(func(c journal.Core) { changed = !bytes.Equal(c.(*core).config, config) })
	if changed {
		// The end of a full log is for the next start.
		if _, err := r.journal.AppendAs(journal.Upkeep, recConfig, config, true); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		r.owing.Lock()
		r.owed.config = nil
		r.owing.Unlock()
		touched = append(touched, "detectors")
	}
	r.up.SetSeeds(next.Parents)
	return touched, nil
}
