//go:build !zos

package demo

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pando/relay"
	"pando/transport"
	"pando/tree/gossip"
	"pando/tree/placement"
)

const (
	relays = 2 // of each tier
	// MaxTiers of relays are enough to show what tiers do; outside of the demonstration there may be more.
	MaxTiers = 2
)

// plantRelays starts the relays, from the upper tier down.
func (t *tree) plantRelays() (err error) {
	var parents []string
	for _, r := range t.roots {
		parents = append(parents, r.Addr())
	}
	if t.tiers == MaxTiers {
		if t.uppers, err = t.plantTier(t.top, "top", parents); err != nil {
			return err
		}
		parents = nil
		for _, r := range t.uppers {
			parents = append(parents, r.Addr())
		}
	}
	t.relays, err = t.plantTier(t.home, "relay", parents)
	return err
}

// plantTier starts the relays of a region, which gossip with each other.
func (t *tree) plantTier(region, prefix string, parents []string) (tier []*relay.Relay, err error) {
	pool := gossip.DefaultOptions()
	pool.Pool, pool.Keys, pool.RejoinEvery = region, [][]byte{gossip.NewKey()}, time.Second
	for n := range relays {
		r, err := t.plantRelay(region, nth(prefix, n), loopback, parents, pool)
		if err != nil {
			return tier, err
		}
		tier, pool.Seeds = append(tier, r), append(pool.Seeds, r.GossipAddr())
	}
	return tier, nil
}

func (t *tree) plantRelay(region, name, listen string, parents []string, pool gossip.Options) (*relay.Relay, error) {
	g, err := t.ground(transport.RoleRelay, region, name)
	if err != nil {
		return nil, err
	}
	o := relay.DefaultOptions()
	o.Dir, o.Credentials, o.Network, o.Listen, o.Parents = t.path("relay", name), g.creds, t.network(name), listen, parents
	o.Analysis.Detectors.Config, o.Gossip, o.API = t.profile.detectors(), &pool, g.server.APIAddr().String()
	o.SegmentBytes, o.Logger, o.Registerer = segmentBytes, t.log, g.reg
	r, err := relay.New(o)
	if err != nil {
		return nil, errors.Join(err, g.server.Close())
	}
	t.serve(g.server, r)
	return r, nil
}

// nth is the name of the nth relay of a tier, counted from 0.
func nth(prefix string, n int) string { return fmt.Sprintf("%s%d", prefix, n+1) }

// allRelays are those of all tiers.
func (t *tree) allRelays() []*relay.Relay { return slices.Concat(t.uppers, t.relays) }

// homeOf is the address of the relay that an agent belongs to. It will learn of
// the other one from this.
func (t *tree) homeOf(agent string) string {
	var list []placement.Relay
	for _, r := range t.relays {
		list = append(list, placement.Relay{Node: r.Name(), Region: t.home, Addr: r.Addr(), Weight: 1})
	}
	return placement.Rank(agent, list)[0].Addr
}
