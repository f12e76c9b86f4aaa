package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt reports damage in bytes that may have been acknowledged.
	// [errors.As] with a [*CorruptError] tells where.
	ErrCorrupt = errors.New("log is damaged")
	// ErrFull reports that no space can be had for another record; what was
	// accepted before stays accepted. It passes when space comes back.
	ErrFull = errors.New("log is full")
	// ErrTrimmed reports a record older than the first one that is kept.
	ErrTrimmed = errors.New("record is trimmed")
	// ErrFailed reports that a write or sync failed, which is final for this
	// Log: close it, exit, and let the next open recover.
	ErrFailed = errors.New("log has failed")
	// ErrLocked reports that another process has the folder open.
	ErrLocked = errors.New("log is in use by another process")
	// ErrTooLarge reports a record above [MaxRecord], or above what fits the
	// configured segment size.
	ErrTooLarge = errors.New("record is too large")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("log is closed")
	// ErrNoCheckpoint reports that a folder has no checkpoint at all.
	ErrNoCheckpoint = errors.New("no checkpoint")
)

// CorruptError says where acknowledged bytes are damaged. It wraps
// [ErrCorrupt].
type CorruptError struct {
	Segment string // file name within the log's folder
	Offset  int64  // byte at which the damaged frame begins
	Reason  string // what is wrong there
	Advice  string // what the operator can do
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: segment %s at byte %d: %s", ErrCorrupt, e.Segment, e.Offset, e.Reason)
}

// Unwrap makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// Hint is the advice for the operator.
func (e *CorruptError) Hint() string { return e.Advice }

const restoreAdvice = "put the file back from a copy; or move the damaged log aside with a forced repair, " +
	"after which the node starts a new log and takes over from its parent what was settled"
