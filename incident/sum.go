package incident

import (
	"crypto/sha256"

	"pando/internal/pack"
	"pando/stream/anomaly"
)

// Sum hashes the graph: equal graphs have equal sums. What did not change since
// the last time costs nothing.
func (g *Graph) Sum() [32]byte {
	w := pack.NewWriter()
	w.Uint(g.refused)
	callees := g.callees.Sum(func(each func(func(string, []Edge))) [32]byte {
		b := pack.NewWriter()
		each(func(from string, edges []Edge) { appendCallees(b, from, edges) })
		return sha256.Sum256(b.Bytes())
	}, func(sums []byte) [32]byte { return sha256.Sum256(sums) })
	w.Bin(callees[:])
	return sha256.Sum256(w.Bytes())
}

// Sum hashes the set: equal sets have equal sums. Incidents that did not change
// since the last time cost nothing: a change makes a new value.
func (s *Set) Sum() [32]byte {
	w := pack.NewWriter()
	w.Int(s.now)
	w.Uint(s.opened)
	w.Uint(s.dropped)
	w.Uint(s.late)
	sums := make(map[*Incident][32]byte, len(s.incidents)+len(s.settled)) // looked up only
	for _, list := range [][]*Incident{s.incidents, s.settled} {
		w.Array(len(list))
		for _, i := range list {
			sum, known := s.sums[i]
			if !known {
				b := pack.NewWriter()
				appendIncident(b, i)
				sum = sha256.Sum256(b.Bytes())
			}
			sums[i] = sum
			w.Bin(sum[:])
		}
	}
	s.sums = sums
	s.appendRetired(w)
	unattached := s.Unattached()
	w.Array(len(unattached))
	for _, f := range unattached {
		anomaly.AppendFinding(w, *f)
	}
	return sha256.Sum256(w.Bytes())
}
