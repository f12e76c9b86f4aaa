//go:build !chaos

package cli

import "pando/internal/durable"

// touched returns a role's file system and wall clock as they are. The build
// tag chaos puts hooks for scripts/chaos.sh between; nothing of them is here.
func touched(fsys durable.FS, wall func() int64) (durable.FS, func() int64) { return fsys, wall }
