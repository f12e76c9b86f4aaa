//go:build !zos

package gossip

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// Limits of a pool.
const (
	// maxMembers bounds a pool. Only relays and roots gossip, so a region has
	// tens; beyond this many whoever holds a key is making names up.
	maxMembers = 512
	// maxPeers bounds the addresses remembered for rejoining. It holds the
	// lost half of any real pool, and keeps the list worth trying.
	maxPeers = 128
	maxPool  = 64  // bytes of a pool's name: it stands in front of each packet
	maxName  = 128 // bytes of a node's name
)

// Member is a node that gossip believes alive. Gossip takes seconds to see a
// death: a member is a candidate, not a promise.
type Member struct {
	Name string
	Addr string // ip:port of its gossip
	Meta Meta
	Self bool // this node
}

// roster is the pool's own copy of the membership, kept from memberlist's
// callbacks. They run while memberlist holds its lock, so nothing here calls
// back into it. Safe for concurrent use.
type roster struct {
	self     string
	logger   *slog.Logger
	refusals *refusals
	metrics  *metrics
	changed  chan struct{} // capacity 1; for the owner of the pool
	unsaved  chan struct{} // capacity 1; for the state file

	mu      sync.Mutex
	meta    []byte // this node's, encoded
	members map[string]Member
	peers   []peer // others, alive or lost, the most recently seen last; at most maxPeers
}

func newRoster(self string, meta []byte, peers []peer, logger *slog.Logger, refusals *refusals, metrics *metrics) *roster {
	return &roster{
		self:     self,
		logger:   logger,
		refusals: refusals,
		metrics:  metrics,
		changed:  make(chan struct{}, 1),
		unsaved:  make(chan struct{}, 1),
		meta:     meta,
		members:  make(map[string]Member),
		peers:    slices.DeleteFunc(peers, func(p peer) bool { return p.Name == self }),
	}
}

// snapshot returns the members sorted by name.
func (r *roster) snapshot() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.members), func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
}

// remembered returns the peers for the state file: those alive last.
func (r *roster) remembered() []peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	peers := slices.Clone(r.peers)
	slices.SortStableFunc(peers, func(a, b peer) int {
		_, aliveA := r.members[a.Name]
		_, aliveB := r.members[b.Name]
		switch {
		case aliveA == aliveB:
			return 0
		case aliveB:
			return -1
		}
		return 1
	})
	return peers
}

// lost returns the addresses of peers that are not members now, the most
// recently seen first, and reports which addresses belong to members.
func (r *roster) lost() (lost []string, alive map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alive = make(map[string]bool, len(r.members))
	for _, m := range r.members {
		alive[m.Addr] = true
	}
	for _, p := range slices.Backward(r.peers) {
		if _, ok := r.members[p.Name]; !ok && !alive[p.Addr] {
			lost = append(lost, p.Addr)
		}
	}
	return lost, alive
}

func (r *roster) setMeta(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meta = b
}

// see notes what memberlist says of a live node.
func (r *roster) see(n *memberlist.Node) {
	meta, err := decodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive has refused and counted it
	}
	m := Member{Name: n.Name, Addr: n.Address(), Meta: meta, Self: n.Name == r.self}
	r.mu.Lock()
	r.members[m.Name] = m
	r.remember(m)
	r.metrics.members.Set(float64(len(r.members)))
	r.mu.Unlock()
	r.tell()
}

// remember moves m to the end of the peers. The caller holds mu.
func (r *roster) remember(m Member) {
	if m.Self {
		return
	}
	r.peers = slices.DeleteFunc(r.peers, func(p peer) bool { return p.Name == m.Name })
	r.peers = append(r.peers, peer{Name: m.Name, Addr: m.Addr})
	if over := len(r.peers) - maxPeers; over > 0 {
		r.peers = slices.Delete(r.peers, 0, over)
	}
}

// tell leaves one signal for each listener; one that is pending stands for
// all changes since.
func (r *roster) tell() {
	for _, ch := range []chan struct{}{r.changed, r.unsaved} {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (r *roster) NotifyJoin(n *memberlist.Node) {
	r.see(n)
	r.logger.Info("gossip member joined", "member", n.Name, "addr", n.Address())
}

// NotifyUpdate implements memberlist.EventDelegate.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.see(n) }

// NotifyLeave implements memberlist.EventDelegate: the node left or was found
// dead.
func (r *roster) NotifyLeave(n *memberlist.Node) {
	r.mu.Lock()
	m, ok := r.members[n.Name]
	delete(r.members, n.Name)
	if ok {
		r.remember(m)
	}
	r.metrics.members.Set(float64(len(r.members)))
	r.mu.Unlock()
	r.tell()
	r.logger.Info("gossip member gone", "member", n.Name, "addr", n.Address())
}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps the node
// out of the pool as far as this node is concerned.
func (r *roster) NotifyAlive(n *memberlist.Node) error {
	if n.Name == "" || len(n.Name) > maxName {
		err := fmt.Errorf("name of %d bytes is outside 1 to %d", len(n.Name), maxName)
		r.refusals.note(reasonName, err.Error())
		return err
	}
	if len(n.Addr) != net.IPv4len && len(n.Addr) != net.IPv6len || n.Port == 0 {
		err := fmt.Errorf("member %q: %s is no address", n.Name, n.Address())
		r.refusals.note(reasonMalformed, err.Error())
		return err
	}
	if _, err := decodeMeta(n.Meta); err != nil {
		r.refusals.note(reasonMeta, fmt.Sprintf("member %q at %s: %v", n.Name, n.Address(), err))
		return err
	}
	r.mu.Lock()
	_, known := r.members[n.Name]
	full := !known && len(r.members) >= maxMembers
	r.mu.Unlock()
	if full {
		err := fmt.Errorf("member %q: the pool has %d members already", n.Name, maxMembers)
		r.refusals.note(reasonFull, err.Error())
		return err
	}
	return nil
}

// NotifyConflict implements memberlist.ConflictDelegate. It also fires, for
// some seconds, when a node that died came back at another address.
func (r *roster) NotifyConflict(existing, other *memberlist.Node) {
	r.refusals.note(reasonName, fmt.Sprintf("%q is at %s and claims to be at %s", existing.Name, existing.Address(), other.Address()))
}

// NodeMeta implements memberlist.Delegate.
func (r *roster) NodeMeta(int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.meta
}

// The rest of memberlist.Delegate: a pool carries no messages of its own.

func (r *roster) NotifyMsg([]byte)                {}
func (r *roster) GetBroadcasts(int, int) [][]byte { return nil }
func (r *roster) LocalState(bool) []byte          { return nil }
func (r *roster) MergeRemoteState([]byte, bool)   {}
