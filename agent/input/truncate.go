package input

import (
	"os"
	"slices"

	"pando/event"
)

// check sees whether the file that the path names was cut or overwritten in
// place since it was read.
func (t *tail) check(l *lineage, f *file, st fileState) error {
	cut := st.size < f.readAt()
	if !cut && (st.size > f.size || st.mtime != f.mtime) && len(f.head) > 0 {
		cut = !f.intact()
	}
	if !cut {
		if st.size > f.size {
			f.quietSince = t.clock()
		}
		f.size, f.mtime = st.size, st.mtime
		return nil
	}
	return t.truncated(l, f, st)
}

// truncated goes on with a file's next content, which takes the descriptor
// over. If what was cut was copied
// away before (logrotate's copytruncate), the rest of it is read there;
// otherwise what had not been read is lost.
func (t *tail) truncated(l *lineage, f *file, st fileState) error {
	next := &file{
		fd: f.fd, key: st.key, path: f.path, lines: t.newSplitter(),
		size: st.size, mtime: st.mtime, quietSince: t.clock(), before: f.before, rotated: f.rotated,
	}
	if err := next.begin(t.spec.Name, identity{fileKey: f.id.fileKey, generation: t.generation()}, [event.Lanes]int64{}); err != nil {
		return err // f is tried again at the next poll
	}
	l.files = slices.Insert(l.files, slices.Index(l.files, f)+1, next)
	found := t.siblings(l.path)
	if at := t.readCopy(f, found); at >= 0 {
		for _, s := range found[at+1:] { // copies of contents that came and went since
			if s.key == next.key {
				break // the file itself was renamed; what follows is newer
			}
			if t.isOpen(s.key) {
				continue
			}
			if err := t.openNew(l, slices.Index(l.files, next), s.path, s.key, true); err != nil {
				return err
			}
		}
		t.log.Info("file truncated, rest read from its copy", "path", l.path, "copy", f.fd.Name())
	} else {
		lost := max(0, f.size-f.offset)
		t.counts.count(lostTruncated, lost)
		t.log.Warn("file truncated", "path", l.path, "read_to", f.offset, "size_was", f.size, "lost_bytes_at_least", lost)
		t.drop(l, f)
	}
	return nil
}

// readCopy lets f go on in a copy of its old content, if there is one among
// the siblings, and returns which it is, or -1.
func (t *tail) readCopy(f *file, found []sibling) int {
	if f.id.length == 0 {
		return -1
	}
	for i, s := range slices.Backward(found) {
		if s.size < f.size || t.isOpen(s.key) {
			continue
		}
		fd, err := os.Open(s.path)
		if err != nil {
			continue
		}
		if head, err := headOf(fd, headBytes); err != nil || !f.id.isOf(head) {
			fd.Close()
			continue
		}
		f.fd, f.key, f.size, f.rotated = fd, s.key, s.size, true
		return i
	}
	return -1
}

// drop takes a file that is done with out of its lineage and retires its
// position; its descriptor may be another's by now.
func (t *tail) drop(l *lineage, f *file) {
	if f.id.length > 0 {
		t.retire = append(t.retire, f.slot)
	}
	l.files = slices.DeleteFunc(l.files, func(g *file) bool { return g == f })
}
