// Package placement decides which relay an agent belongs to and when it may
// move. Everything in it is pure: the caller brings the relays, the time and
// the randomness, so an agent, a relay that redirects and a simulation reach
// the same answer, on every architecture.
//
// Relays are ranked by weighted rendezvous hashing (D. Thaler and
// C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
// Transactions on Networking 6(1), 1998; weights: C. Schindelhauer and
// G. Schomaker, "Weighted distributed hash tables", SPAA 2005). One of n
// relays that comes or goes moves about 1/n of the keys and no others.
//
// [Policy] adds the hysteresis before an agent goes back to a better relay,
// [Backoff] the pauses between attempts, and [Budget] a relay's limit on
// handshakes. The package assumes that the caller knows which relays are
// live; that knowledge comes from sessions, not from gossip.
package placement

import (
	"cmp"
	"slices"
)

// Relay is a node that agents may be placed on.
type Relay struct {
	Node   string // unique name; the only field that is hashed
	Region string
	Addr   string // host:port of its transport
	Weight uint32 // share of the keys relative to other relays; 0 takes no new ones (it drains)
	Full   bool   // accepts no more children; ranks behind all that do
}

// Rank orders relays by preference for key: the first is its parent, the
// second its standby. Relays of weight 0 are left out. If two share a name,
// the caller's order decides between them. The argument is not changed.
func Rank(key string, relays []Relay) []Relay {
	type entry struct {
		relay Relay
		cost  uint64
	}
	entries := make([]entry, 0, len(relays))
	for _, r := range relays {
		if r.Weight > 0 {
			entries = append(entries, entry{relay: r, cost: negLog2(hash(key, r.Node))})
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(
			compareBool(a.relay.Full, b.relay.Full),
			compareRatio(a.cost, a.relay.Weight, b.cost, b.relay.Weight),
			cmp.Compare(a.relay.Node, b.relay.Node),
		)
	})
	ranked := make([]Relay, len(entries))
	for i, e := range entries {
		ranked[i] = e.relay
	}
	return ranked
}

// RankRegions ranks the relays of the first region as [Rank] does, then those
// of the second, and so on: the agent's own region comes first, its fallback
// regions after. Relays of other regions are left out. A full relay stays in
// its region's group, so load alone does not drive agents across regions.
func RankRegions(key string, regions []string, relays []Relay) []Relay {
	ranked := make([]Relay, 0, len(relays))
	for i, region := range regions {
		if slices.Contains(regions[:i], region) {
			continue
		}
		group := slices.DeleteFunc(slices.Clone(relays), func(r Relay) bool { return r.Region != region })
		ranked = append(ranked, Rank(key, group)...)
	}
	return ranked
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
