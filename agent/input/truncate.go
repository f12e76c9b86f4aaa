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
// over. If what was cut was copied away before (logrotate's copytruncate), the
// rest of it is read there; otherwise what had not been read is lost. If it
// fails, f is as it was, and the next poll tries again.
func (t *tail) truncated(l *lineage, f *file, st fileState) error {
	found, err := t.siblings(l.path)
	if err != nil {
		return err
	}
	next := &file{
		fd: f.fd, key: st.key, path: f.path, lines: t.newSplitter(),
		size: st.size, mtime: st.mtime, quietSince: t.clock(), before: f.before, rotated: f.rotated,
	}
	id := identity{fileKey: f.id.fileKey, generation: t.generation()}
	if err := next.begin(t.spec.Name, id, [event.Lanes]int64{}); err != nil {
		return err
	}
	fd, at := t.findCopy(f, found)
	if fd == nil {
		lost := max(0, f.size-f.offset)
		t.counts.count(lostTruncated, lost)
		t.log.Warn("file truncated", "path", l.path, "read_to", f.offset, "size_was", f.size, "lost_bytes_at_least", lost)
		l.files = slices.Insert(l.files, slices.Index(l.files, f)+1, next)
		t.drop(l, f)
		return nil
	}
	place := slices.Index(l.files, f) + 1
	for _, s := range found[at+1:] { // copies of contents that came and went since
		if s.key == st.key {
			break // the file itself was renamed; what follows is newer
		}
		if !t.isOpen(s.key) {
			if err := t.openNew(l, place, s.path, s.key, true); err != nil {
				fd.Close()
				return err
			}
		}
		if place < len(l.files) && l.files[place].key == s.key {
			place++
		}
	}
	t.log.Info("file truncated, rest read from its copy", "path", l.path, "copy", fd.Name())
	f.fd, f.key, f.size, f.rotated = fd, found[at].key, found[at].size, true
	l.files = slices.Insert(l.files, place, next)
	return nil
}

// findCopy opens the newest sibling that holds f's old content, and returns
// which it is; nil if there is none.
func (t *tail) findCopy(f *file, found []sibling) (*os.File, int) {
	if f.id.length == 0 {
		return nil, 0
	}
	for i, s := range slices.Backward(found) {
		if s.size < f.size || t.isOpen(s.key) {
			continue
		}
		fd, _, err := openAs(s.path, s.key)
		if err != nil {
			continue
		}
		if head, err := headOf(fd, headBytes); err == nil && f.id.isOf(head) {
			return fd, i
		}
		fd.Close()
	}
	return nil, 0
}

// drop takes a file that is done with out of its lineage and retires its
// position; its descriptor may be another's by now.
func (t *tail) drop(l *lineage, f *file) {
	if f.id.length > 0 {
		t.retire = append(t.retire, f.slot)
	}
	l.files = slices.DeleteFunc(l.files, func(g *file) bool { return g == f })
}
