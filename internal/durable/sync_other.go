//go:build !linux

package durable

import "os"

// datasync is a full sync where fdatasync is missing or, as on macOS, does
// not reach the medium; [os.File.Sync] uses F_FULLFSYNC there.
func datasync(f *os.File) error { return f.Sync() }
