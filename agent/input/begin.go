package input

import (
	"slices"

	"pando/event"
)

// resumeLineage opens a lineage's files for the first time. It waits for the
// first of them to be there: a file system may be mounted late.
func (t *tail) resumeLineage(l *lineage, st *fileState) error {
	if st != nil && t.adopt(l, st.key) {
		l.begun = true
		return nil
	}
	var files []candidate
	if t.known {
		found, err := t.siblings(l.path)
		if err != nil {
			return err
		}
		if files, err = withHeads(found); err != nil {
			return err
		}
	}
	if st != nil {
		head, err := readHead(l.path, st.key)
		if err != nil {
			return err
		}
		files = append(files, candidate{path: l.path, key: st.key, size: st.size, head: head})
	}
	claimed := func(m *mark) bool { _, ok := match(files, m); return ok }
	if t.pattern && l.absent.known && !t.any(claimed) {
		files = files[len(files)-min(len(files), single(st)):] // a new path; what lies beside it is history
	}
	if len(files) == 0 {
		return nil
	}
	starts := plan(files, t.resume, !t.pattern)
	opened := make([]*file, 0, len(starts))
	for _, s := range starts {
		f, err := t.openAt(l, &files[s.index], s)
		if err != nil {
			for _, f := range opened {
				f.fd.Close()
			}
			return err
		}
		f.rotated = st == nil || s.index < len(files)-1
		opened = append(opened, f)
	}
	l.files, l.begun = opened, true
	t.forget(func(m *mark) bool { return !t.pattern || claimed(m) })
	return nil
}

// single is how many files a path names.
func single(st *fileState) int {
	if st == nil {
		return 0
	}
	return 1
}

// any reports whether a mark that found no file yet is such a one.
func (t *tail) any(such func(*mark) bool) bool {
	for _, marks := range t.resume {
		for k := range marks {
			if such(&marks[k]) {
				return true
			}
		}
	}
	return false
}

// openAt opens one file of a plan.
func (t *tail) openAt(l *lineage, c *candidate, s start) (*file, error) {
	f, err := t.open(c.path, c.key, l)
	if err != nil {
		return nil, err
	}
	f.before = l.absent
	if !t.known && t.spec.Start == StartEnd && !l.absent.known {
		var from int64
		if from, err = t.lastLine(f); err == nil {
			s.id.from = from
			s.done = [event.Lanes]int64{from, from}
		}
	}
	if !s.known {
		s.id = identity{fileKey: c.key, generation: t.generation(), from: s.id.from}
	}
	if err == nil {
		err = f.begin(t.spec.Name, s.id, s.done)
	}
	if err != nil {
		f.fd.Close()
		return nil, err
	}
	if t.known {
		t.log.Info("source resumed", "path", c.path, "critical", f.done[event.Critical], "bulk", f.done[event.Bulk], "size", f.size)
	}
	return f, nil
}

// forget drops such marks, and retires those of them whose file is not read.
// The marks of a pattern may be of paths that are yet to come; those of a
// single path are all settled once it was taken up.
func (t *tail) forget(such func(*mark) bool) {
	live := map[string]bool{}
	for _, l := range t.lineages {
		for _, f := range l.files {
			live[f.slot] = true
		}
	}
	for l := range t.resume {
		t.resume[l] = slices.DeleteFunc(t.resume[l], func(m mark) bool {
			if !such(&m) {
				return false
			}
			if !live[m.source] && !slices.Contains(t.retire, m.source) {
				t.retire = append(t.retire, m.source)
			}
			return true
		})
	}
}
