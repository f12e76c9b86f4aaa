package wal

// Full tells why no further segment can be had; the error wraps [ErrFull]. It
// is nil as long as there is room, or none was asked for yet.
func (l *Log) Full() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fullLocked()
}

func (l *Log) fullLocked() error {
	if l.stuck != nil {
		return l.stuck
	}
	return l.prepErr
}

// Spare returns nil while an append leaves a quarter of a segment free, or
// more: it waits for the next segment where that is what it takes, and gives
// [ErrFull] if it cannot be had. Whoever asks before appending data keeps that
// quarter for the records by which space is freed.
func (l *Log) Spare() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := l.deadLocked(); err != nil {
			return err
		}
		following := l.place.switched != 0 // next is this segment, until the writer has followed
		if l.place.off <= l.place.size/4*3 || l.next != nil && !following {
			return nil
		}
		if !following {
			l.wantNextLocked()
			if err := l.fullLocked(); err != nil {
				return err
			}
		}
		l.space.Wait()
	}
}
