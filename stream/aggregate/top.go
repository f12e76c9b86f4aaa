package aggregate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"pando/internal/pack"
)

const (
	// MaxTop is the most entries one [Top] can be asked for.
	MaxTop = 100
	// kept is how many counters are kept for each entry that is asked for: the
	// error stays below a sixteenth of what the k-th of k equal ones would count.
	kept = 16
	// maxTopName is the length in bytes by which names are told apart.
	maxTopName = 256
	// maxCount is far above what is ever counted, and so far below the limit of
	// the type that sums of read numbers do not wrap round.
	maxCount = 1 << 56
)

// Top finds the most frequent names by the summary of Misra and Gries (1982) in
// its mergeable form (Agarwal et al., "Mergeable Summaries", PODS 2012):
// counters of names, of which the smallest go when they are too many, and all
// others lose as much as the greatest that goes. The loss is kept, so each
// count has its bound: a name that counted c was there at least c and at most c
// + loss times, one that has no counter at most loss times. With k asked for
// and n counted in all, merges included,
//
//	loss <= n/(16k+1)
//
// so that no name that is more than that part of all is missing, whatever was
// merged in whatever order. Until there were more than 32k names everything is
// exact, and equal counts give equal bytes; beyond, what is kept depends on the
// order. Ties are told in the order of names. Not safe for concurrent use.
type Top struct {
	k      int
	counts map[string]uint64 // at most 2*kept*k after each call
	loss   uint64
}

// Entry is a name and how often it was there: at least Count-Error times, and
// at most Count times.
type Entry struct {
	Name         string
	Count, Error uint64
}

// NewTop returns an empty one, to be asked for k entries, 1 to [MaxTop].
func NewTop(k int) *Top {
	return &Top{k: min(max(k, 1), MaxTop), counts: make(map[string]uint64)}
}

// Add counts a name once more. Names are told apart by their first 256 bytes.
func (t *Top) Add(name string) {
	name = shorten(name)
	if n, ok := t.counts[name]; ok {
		t.counts[name] = n + 1
		return
	}
	t.counts[strings.Clone(name)] = 1 // the name may be part of a whole batch
	t.shrink()
}

func shorten(name string) string {
	if len(name) <= maxTopName {
		return name
	}
	n := maxTopName
	for !utf8.RuneStart(name[n]) && n > 0 {
		n--
	}
	return name[:n]
}

// Merge takes in all of o, which stays as it is and is asked for as many.
func (t *Top) Merge(o *Top) {
	for name, n := range o.counts {
		t.counts[name] += n
	}
	t.loss += o.loss
	t.shrink()
}

// shrink lets go of the smallest counters when they are twice too many, so that
// each name costs little. At least kept*k+1 counters lose what loss gains, which
// is where the bound comes from.
func (t *Top) shrink() {
	m := kept * t.k
	if len(t.counts) <= 2*m {
		return
	}
	all := make([]uint64, 0, len(t.counts))
	for _, n := range t.counts {
		all = append(all, n)
	}
	slices.Sort(all)
	less := all[len(all)-1-m]
	for name, n := range t.counts {
		if n <= less {
			delete(t.counts, name)
		} else {
			t.counts[name] = n - less
		}
	}
	t.loss += less
}

// Entries are the most frequent names, at most as many as asked for, by falling
// count, then by name.
func (t *Top) Entries() []Entry {
	list := t.sorted()
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(b.Count, a.Count) })
	list = list[:min(len(list), t.k)]
	for i := range list {
		list[i].Count += t.loss
		list[i].Error = t.loss
	}
	return list
}

// sorted are the counters by name.
func (t *Top) sorted() []Entry {
	list := make([]Entry, 0, len(t.counts))
	for name, n := range t.counts {
		list = append(list, Entry{Name: name, Count: n})
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// weight is what it takes of memory, in units of WeightBytes: names are
// as long as they may be.
func (t *Top) weight() int { return len(t.counts) * topWeight / WeightBytes }

// topWeight is what a counter takes with its name, in bytes.
const topWeight = maxTopName + 64

// reset empties it. A map keeps the memory of the most that was ever in it.
func (t *Top) reset() {
	if t.loss = 0; len(t.counts) > lightWeight {
		t.counts = make(map[string]uint64)
	}
	clear(t.counts)
}

// Append writes how many are asked for, the loss, and the counters by name.
func (t *Top) Append(w *pack.Writer) {
	w.Uint(uint64(t.k))
	w.Uint(t.loss)
	list := t.sorted()
	w.Array(len(list))
	for _, e := range list {
		w.String(e.Name)
		w.Uint(e.Count)
	}
}

// ReadTop reads what [Top.Append] wrote. Errors stay in r, and leave an empty
// one.
func ReadTop(r *pack.Reader) *Top {
	k := int(r.Uint("entries", MaxTop))
	if r.Err() == nil && k == 0 {
		r.Fail("entries", errors.New("none asked for"))
	}
	t := NewTop(k)
	t.loss = r.Uint("loss", maxCount)
	last := ""
	for i := range r.Array("counters", 2*kept*t.k) {
		name, n := r.String("name", maxTopName), r.Uint("count", maxCount)
		if r.Err() == nil && (n == 0 || i > 0 && name <= last) {
			r.Fail("counter", fmt.Errorf("%q counts nothing, or is not above the one before it", name))
		}
		if r.Err() != nil {
			return NewTop(k)
		}
		t.counts[name], last = n, name
	}
	return t
}
