package sim

import (
	"fmt"
	"strings"

	"pando/tree/wire"
)

// gossipLag is how old a relay's view of the others is.
const gossipLag = 2 * second

// grow makes the nodes of the plan.
func (w *world) grow() {
	w.raft = newGroup(w)
	for i := range w.plan.roots {
		w.roots = append(w.roots, newRootNode(w, i))
	}
	for _, p := range w.plan.relays {
		r := newRelayNode(w, p)
		w.relays = append(w.relays, r)
		if isMiddle(p.name) {
			r.middle = &forwarder{r: r}
			r.middle.clear()
		}
	}
	for i := range w.plan.agents {
		w.agents = append(w.agents, newAgentNode(w, &w.plan.agents[i]))
	}
	for _, r := range w.roots {
		r.start()
	}
	for _, r := range w.relays {
		w.after(between(w.proc, 0, 200*millisecond), r.start)
	}
	for _, a := range w.agents {
		w.after(between(w.proc, 0, 500*millisecond), a.start)
	}
}

func isMiddle(name string) bool { return strings.HasSuffix(name, "/middle") }

func (w *world) relay(name string) *relayNode {
	for _, r := range w.relays {
		if r.name == name {
			return r
		}
	}
	panic(fmt.Sprintf("no relay %s", name))
}

func (w *world) root(name string) *rootNode {
	for _, r := range w.roots {
		if r.name == name {
			return r
		}
	}
	panic(fmt.Sprintf("no root %s", name))
}

// seeds are the relays that an agent's configuration names: its region's, then
// the others.
func (w *world) seeds(region string) (names []string) {
	var far []string
	for _, i := range w.wire.Perm(len(w.relays)) {
		switch r := w.relays[i]; {
		case r.middle != nil:
		case r.region == region:
			names = append(names, r.name)
		default:
			far = append(far, r.name)
		}
	}
	return append(names, far...)
}

// directory is what a relay knows of the others by gossip: late, and sometimes
// wrong.
func (w *world) directory(r *relayNode) *wire.Directory {
	d := &wire.Directory{}
	for _, x := range w.relays {
		if x.middle != nil || x.region != r.region {
			continue
		}
		alive := x.machine.up
		if x != r && w.now-x.changed < gossipLag || w.lies && chance(w.wire, 8) {
			alive = !alive
		}
		if alive {
			d.Nodes = append(d.Nodes, wire.Node{Name: x.name, Region: x.region, Addr: x.name, Weight: 1})
		}
	}
	return d
}
