package input

import (
	"context"
	"fmt"

	"pando/event"
)

// read takes the file's lines up to its end, or up to a turn's bytes. end says
// that the end was found. What keeps the file from being read is left in its
// fault; the error is the sink's only.
//
// looked is the time before the file's size was looked at: whatever it held
// then is within that size, and what comes later came after.
func (t *tail) read(ctx context.Context, f *file, looked int64) (end bool, err error) {
	f.fault = nil
	for turn := 0; turn < turnBytes && !f.atEnd(); {
		if f.fault = f.remember(t.spec.Name); f.fault != nil {
			return false, nil
		}
		n, err := f.fd.ReadAt(t.chunk, f.readAt())
		if n == 0 {
			if err != nil && !isEOF(err) {
				f.fault = fmt.Errorf("read at %d: %w", f.readAt(), err)
			}
			return false, nil // cut since it was looked at; the next poll sees how
		}
		turn += n
		t.active = looked
		if err := t.split(ctx, f, t.chunk[:n]); err != nil {
			return false, err
		}
	}
	if !f.atEnd() {
		return false, nil
	}
	f.before = seen{looked, true}
	return true, nil
}

// split takes the complete lines out of a chunk that follows what was read.
func (t *tail) split(ctx context.Context, f *file, chunk []byte) error {
	first := f.before // the line that was begun earlier came earlier
	if f.lines.held() > 0 {
		first = f.partial
	} else {
		f.partial = f.before
	}
	for {
		text, cut, size, left, ok := f.lines.next(chunk)
		if !ok {
			return nil
		}
		if err := t.accept(ctx, f, text, cut, size, first); err != nil {
			return err
		}
		chunk, first, f.partial = left, f.before, f.before
	}
}

// accept makes an item of one line, unless it is durable already.
func (t *tail) accept(ctx context.Context, f *file, text []byte, cut, size int64, s seen) error {
	f.offset += size
	if f.durable(event.Critical) && f.durable(event.Bulk) {
		return nil
	}
	it := t.out.next()
	producer := t.x.event(&it.Event, &line{bytes: text, cut: cut, file: f.path, attr: t.pattern})
	if f.durable(it.Event.Lane()) {
		return nil
	}
	it.Position, it.Retires = f.position(), t.retire
	t.out.add(int(size), s, producer)
	t.retire = nil
	if !t.out.full() {
		return nil
	}
	return t.out.flush(ctx)
}

// finish closes a rotated file that has been quiet for the grace period. A
// last line without an end is taken as it is then. The lineage's last file
// stays open until it has a successor, which is found by it, unless it was
// deleted.
func (t *tail) finish(ctx context.Context, l *lineage, f *file, now int64) error {
	if now-f.quietSince < int64(t.spec.Grace) || !f.atEnd() {
		return nil
	}
	if held := f.lines.held(); held > 0 {
		text, cut, size := f.lines.take()
		if err := t.accept(ctx, f, text, cut, size, f.partial); err != nil {
			return fmt.Errorf("last line of %s: %w", f.path, err)
		}
	}
	if f == l.files[len(l.files)-1] && !f.deleted {
		return nil
	}
	f.fd.Close()
	t.drop(l, f)
	return nil
}
