package stream

import "slices"

// Join returns rows whose panes are joined into panes of so many panes' length,
// named by their first, but for the series that keep says must stay as they
// are. Counts and sums stay exact; only when they were becomes coarser.
func Join(rows Rows, panes Pane, keep func(Series) bool) Rows {
	if panes <= 1 {
		return rows
	}
	out := rows
	out.Rows, out.Edges = slices.Clone(rows.Rows), slices.Clone(rows.Edges)
	for i := range out.Rows {
		if r := &out.Rows[i]; !keep(r.Series) {
			r.Pane = r.Pane.start(panes)
		}
	}
	for i := range out.Edges {
		out.Edges[i].Pane = out.Edges[i].Pane.start(panes)
	}
	out.Rows = addEqual(out.Rows, (*Row).Compare, (*Row).add)
	out.Edges = addEqual(out.Edges, (*Edge).Compare, (*Edge).add)
	return out
}

// start is the first pane of the aligned run of panes that p is in.
func (p Pane) start(panes Pane) Pane { return p - ((p%panes)+panes)%panes }

// addEqual sorts a list and adds up what has one key.
func addEqual[T any](list []T, compare func(*T, *T) int, add func(*T, *T)) []T {
	slices.SortFunc(list, func(a, b T) int { return compare(&a, &b) })
	n := 0
	for i := range list {
		if n > 0 && compare(&list[n-1], &list[i]) == 0 {
			add(&list[n-1], &list[i])
			continue
		}
		list[n] = list[i]
		n++
	}
	return list[:n]
}
