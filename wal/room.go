package wal

// Full tells why no further segment can be had; the error wraps [ErrFull]. It
// is known from about half a segment before the log takes nothing more, so a
// caller can keep what is left for the records by which it frees space. It is
// nil as long as there is room, or none was asked for yet.
func (l *Log) Full() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck != nil {
		return l.stuck
	}
	return l.prepErr
}
