//go:build !zos

package root

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pando/internal/ops"
	"pando/transport"
	"pando/tree/status"
	"pando/tree/wire"
)

const (
	// reportEvery is how often a follower tells the leader how it is.
	reportEvery = time.Second
	// silentAfter is how old a report may be before its node counts as
	// silent: five were missed.
	silentAfter = 5 * time.Second
	// forgetAfter drops reports of nodes that are long gone.
	forgetAfter = time.Hour
)

// States of nodes that others report on.
const (
	stateLive    = "live"
	stateSilent  = "silent"
	stateUnknown = "unknown" // nobody had time to report to this leader yet
	stateCloned  = "cloned"  // another node uses its certificate, whichever of the two reports
)

// heard is a report and when it came, on this process's clock.
type heard struct {
	report status.Report
	at     time.Time
}

// Tree is what is known of every node.
type Tree struct {
	Leader string        `json:"leader"`
	Nodes  []status.Node `json:"nodes"` // roots, relays, agents; each by name
}

// hear takes a node's report on itself and its children.
func (r *Root) hear(peer transport.Identity, body []byte) error {
	var m wire.Status
	if err := wire.Decode(body, &m); err != nil {
		return fmt.Errorf("%w: status: %w", errMalformed, err)
	}
	var rep status.Report
	if err := json.Unmarshal(m.JSON, &rep); err != nil {
		return fmt.Errorf("%w: status: %w", errMalformed, err)
	}
	// Who it is stands in the certificate.
	rep.Node.Name, rep.Node.Role, rep.Node.Region = peer.Node(), string(peer.Role), peer.Region
	r.remember(&rep)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.statuses, func(_ string, h heard) bool { return now.Sub(h.at) > forgetAfter })
	if _, known := r.statuses[rep.Node.Name]; known || len(r.statuses) < MaxNodes {
		r.statuses[rep.Node.Name] = heard{rep, now}
	}
	return nil
}

// report tells the leader how this root is.
func (r *Root) report(ctx context.Context) {
	for pause(ctx, reportEvery) {
		r.link.tell(ctx, r.Status())
	}
}

// Status is this root's report on itself.
func (r *Root) Status() status.Node {
	st := r.node.Stats()
	n := status.Node{Name: r.name, Role: string(r.self.Role), Region: r.self.Region, State: strings.ToLower(st.State), Version: ops.ReadVersion().String(),
		Address: r.Addr(), Lag: int64(st.CommitIndex - min(st.AppliedIndex, st.CommitIndex)), AsOf: r.time.Now()}
	if s, ok := r.server(r.name); ok {
		n.API = s.API
	}
	now := r.time.Now()
	n.SkewNs, n.Skewed = r.opts.Wall()-now, true
	if !r.leading.Load() {
		n.Parent = r.Leader()
		if m, ok := r.clock.Mapping(); ok {
			n.SkewBoundNs = m.Bound
		}
	}
	n.Events = r.fsm.view().settled
	n.WALBytes = folderBytes(raftDir(r.opts.Dir))
	return n
}

// folderBytes is the size of the files below a folder; what cannot be looked
// at counts nothing.
func folderBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// Tree puts together what the roots, the relays and the replicated state say.
// Reports come to the leader; another root knows only of itself and of what
// was ever registered.
func (r *Root) Tree() Tree {
	v, now := r.fsm.view(), r.time.Now()
	b := treeBuilder{nodes: map[string]status.Node{}}
	b.fallback(r.Status())
	absent := stateSilent
	if since := r.leads.Load(); since != nil && time.Since(*since) < silentAfter {
		absent = stateUnknown
	}
	r.mu.Lock()
	list := slices.Collect(maps.Values(r.statuses))
	r.mu.Unlock()
	// A root that was removed is no part of the tree, though it has reported.
	servers := r.Servers()
	list = slices.DeleteFunc(list, func(h heard) bool {
		_, member := find(servers, h.report.Node.Name)
		return h.report.Node.Role == string(transport.RoleRoot) && !member
	})
	slices.SortFunc(list, func(x, y heard) int { return strings.Compare(x.report.Node.Name, y.report.Node.Name) })
	b.reports(list)
	for _, s := range servers {
		region, _ := splitNode(s.Name)
		b.fallback(status.Node{Name: s.Name, Role: string(transport.RoleRoot), Region: region, Address: s.Addr, API: s.API, State: absent})
	}
	v.nodes.Ascend(func(name string, m *member) bool {
		b.fallback(status.Node{Name: name, Role: m.role, Region: m.region, Address: m.addr, State: absent, AsOf: m.at})
		return true
	})
	v.origins.Ascend(func(name string, o *origin) bool {
		region, _ := splitNode(name)
		b.fallback(status.Node{Name: name, Role: string(transport.RoleAgent), Region: region, Parent: o.relay, WAL: o.Current.String(), State: absent, AsOf: o.at})
		if o.isCloned(now) {
			b.set(name, stateCloned)
		}
		return true
	})
	return Tree{Leader: r.Leader(), Nodes: b.sorted()}
}

// treeBuilder collects nodes.
type treeBuilder struct{ nodes map[string]status.Node }

// fallback adds a node that nobody nearer to it has reported on.
func (b *treeBuilder) fallback(n status.Node) {
	if _, ok := b.nodes[n.Name]; !ok {
		b.nodes[n.Name] = n
	}
}

// set gives a node another state.
func (b *treeBuilder) set(name, state string) {
	n := b.nodes[name]
	n.State = state
	b.nodes[name] = n
}

// reports adds nodes that report on themselves, and then their children, who
// have no word of their own here. When a report is old, nothing can be said
// of its nodes.
func (b *treeBuilder) reports(list []heard) {
	direct := map[string]bool{}
	for name := range b.nodes {
		direct[name] = true
	}
	for i := range list {
		n := list[i].report.Node
		if n.State == "" {
			n.State = stateLive
		}
		if list[i].silent() {
			n.State = stateSilent
		}
		b.fallback(n)
		direct[n.Name] = true
	}
	for i := range list {
		for _, c := range list[i].report.Children {
			if c.Name == "" || direct[c.Name] || c.Role == string(transport.RoleRoot) {
				continue
			}
			if c.Parent == "" {
				c.Parent = list[i].report.Node.Name
			}
			if list[i].silent() {
				c.State = stateSilent
			}
			// An agent that moved is in two reports; the newer one counts.
			if old, ok := b.nodes[c.Name]; !ok || old.AsOf < c.AsOf {
				b.nodes[c.Name] = c
			}
		}
	}
}

func (h *heard) silent() bool { return time.Since(h.at) > silentAfter }

func (b *treeBuilder) sorted() []status.Node {
	rank := map[string]int{string(transport.RoleRoot): 0, string(transport.RoleRelay): 1, string(transport.RoleAgent): 2}
	return slices.SortedFunc(maps.Values(b.nodes), func(x, y status.Node) int {
		return cmp.Or(cmp.Compare(rank[x.Role], rank[y.Role]), strings.Compare(x.Name, y.Name))
	})
}

// splitNode divides region/name.
func splitNode(node string) (region, name string) {
	region, name, _ = strings.Cut(node, "/")
	return region, name
}

// host is an address without its port.
func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}
