//go:build !zos

package root

import (
	"pando/transport"
	"pando/tree/status"
)

// maxWords is how many WAL ids of one agent are remembered as it last spoke of
// them.
const maxWords = 8

// words are what an agent last said of each of its WAL ids, the newest last.
// An agent that has lost its disk speaks of another one; what it said before
// is all that tells what the lost one had. The leader hears it, and knows it
// as long as its process lives.
type words []word

type word struct {
	wal   string
	at    int64
	units []status.Unit
}

// note takes a report on an agent, unless a newer one is known.
func (w words) note(n *status.Node) words {
	for i := range w {
		if w[i].wal != n.WAL {
			continue
		}
		if n.AsOf >= w[i].at {
			w[i].at, w[i].units = n.AsOf, n.Units
		}
		return w
	}
	if len(w) == maxWords {
		w = append(w[:0], w[1:]...)
	}
	return append(w, word{n.WAL, n.AsOf, n.Units})
}

// remember keeps what a report says of agents.
func (r *Root) remember(rep *status.Report) {
	origins := r.fsm.view().origins
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rep.Children {
		n := &rep.Children[i]
		if n.Role != string(transport.RoleAgent) || n.WAL == "" || len(n.Units) == 0 {
			continue
		}
		if _, known := origins.Get(n.Name); known {
			r.words[n.Name] = r.words[n.Name].note(n)
		}
	}
}

// accepted is what agents say they accepted, by unit.
func (r *Root) accepted() map[unitName]acceptance {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[unitName]acceptance{}
	for name, list := range r.words {
		for _, w := range list {
			for _, u := range w.units {
				out[unitName{name, w.wal, u.Lane}] = acceptance{u.Accepted, u.Settled, w.at}
			}
		}
	}
	return out
}
