package input

import (
	"math"
	"slices"

	"pando/event"
)

// candidate is one file of a lineage: those that a path names or named before
// it was rotated.
type candidate struct {
	path string
	key  fileKey
	size int64
	head []byte // its first bytes, at most headBytes
}

// start is one file to read, and where from.
type start struct {
	index int  // of the candidate
	known bool // id is what positions say of its content
	id    identity
	done  [event.Lanes]int64 // per lane: lines that end at or before are durable
}

// allDone is the offset of a lane that needs nothing of a file.
const allDone = math.MaxInt64

// unranked is the rank of a lane that knows no file of a lineage.
const unranked = -1

// ranked is what one lane knows of a lineage. Files are begun in order, and
// one is forgotten only after a later one was begun, so what is older than
// the newest file known is done, and what is newer was not begun. Ranks are
// 2i for candidate i and 2i-1 for earlier content of the same file.
type ranked struct {
	any            bool          // the lane has positions of this source
	newest, oldest int           // ranks, or unranked
	offsets        map[int]int64 // by candidate
}

// plan decides which of a lineage's files, sorted from old to new, are read
// from where, given what is durable in each lane. sole says that the source
// has no other lineage, so that positions which fit no file are of files of
// this one that are gone: then all that is left is unread. It is pure.
func plan(files []candidate, resume [event.Lanes][]mark, sole bool) []start {
	contents := current(files, resume)
	var lanes [event.Lanes]ranked
	ranks := false
	for l := range lanes {
		lanes[l] = rank(files, resume[l], contents)
		ranks = ranks || lanes[l].newest != unranked
	}
	var starts []start
	for i := range files {
		s := start{index: i, known: contents[i].known, id: contents[i].id}
		needed := false
		for l := range lanes {
			s.done[l] = lanes[l].begin(i, sole, ranks, lanes[1-l].oldest, s.id.from)
			needed = needed || s.done[l] != allDone
		}
		if needed {
			starts = append(starts, s)
		}
	}
	return starts
}

// begin is where the lane begins to read file i.
func (r *ranked) begin(i int, sole, ranks bool, otherOldest int, from int64) int64 {
	if offset, ok := r.offsets[i]; ok {
		return offset
	}
	if r.newest != unranked {
		if 2*i < r.newest {
			return allDone
		}
		return 0
	}
	// The lane knows no file of this lineage. If it knows others and this is
	// the only lineage, its files are gone, and the rest is unread; likewise
	// if no lane knows one. Otherwise nothing of this lane was durable before
	// the other lane's oldest file was begun: it is handed on in one order.
	if !ranks || r.any && sole {
		return 0
	}
	if 2*i < otherOldest {
		return allDone
	}
	return from
}

// match finds the file that a mark is of. A file that was copied away and then
// truncated in place is found as its copy.
func match(files []candidate, m *mark) (int, bool) {
	for i := range files {
		if sameFile(&files[i], m) {
			return i, true
		}
	}
	for i := range files {
		f := &files[i]
		if f.key.ino == m.ino && f.key.dev == m.dev {
			return copyOf(files, i, m)
		}
	}
	return 0, false
}

// sameFile accepts another device for a full fingerprint: some file systems
// number theirs anew at each mount.
func sameFile(f *candidate, m *mark) bool {
	if f.key.ino != m.ino || f.key.dev != m.dev && m.length < headBytes {
		return false
	}
	return m.offset <= f.size && m.isOf(f.head)
}

// copyOf looks for the old content of file i among the older files.
func copyOf(files []candidate, i int, m *mark) (int, bool) {
	for k := i - 1; k >= 0; k-- {
		if m.offset <= files[k].size && m.isOf(files[k].head) {
			return k, true
		}
	}
	return 0, false
}

// content is what the marks say of a file's present content.
type content struct {
	id    identity // of the highest generation that any lane knows of it
	known bool     // a mark is of it; else it is new
	least int      // generations below are of content that is gone
}

// current finds each file's content.
func current(files []candidate, resume [event.Lanes][]mark) []content {
	contents := make([]content, len(files))
	for _, marks := range resume {
		for k := range marks {
			m := &marks[k]
			for i := range files {
				if files[i].key == m.fileKey && !sameFile(&files[i], m) {
					contents[i].least = max(contents[i].least, m.generation+1)
				}
			}
		}
	}
	for _, marks := range resume {
		for k := range marks {
			m := &marks[k]
			i, ok := match(files, m)
			if !ok || m.generation < contents[i].least {
				continue
			}
			if c := &contents[i]; !c.known || m.generation >= c.id.generation {
				c.id, c.known = m.identity, true
			}
		}
	}
	return contents
}

func rank(files []candidate, marks []mark, contents []content) ranked {
	r := ranked{any: len(marks) > 0, newest: unranked, oldest: unranked, offsets: map[int]int64{}}
	for k := range marks {
		m := &marks[k]
		i, ok := match(files, m)
		at := 2 * i
		switch {
		case !ok:
			// Earlier content of a file whose truncation another mark saw.
			i = slices.IndexFunc(files, func(f candidate) bool { return f.key == m.fileKey })
			if i < 0 || !contents[i].known || m.generation >= contents[i].id.generation {
				continue
			}
			at = 2*i - 1
		case !contents[i].known || m.slot() != contents[i].id.slot():
			at--
		default:
			r.offsets[i] = max(r.offsets[i], m.offset)
		}
		r.newest = max(r.newest, at)
		if r.oldest == unranked || at < r.oldest {
			r.oldest = at
		}
	}
	return r
}
