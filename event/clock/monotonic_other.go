//go:build !linux

package clock

import (
	"crypto/rand"
	"time"
)

func newMonotonic() (*Monotonic, error) {
	m := &Monotonic{}
	rand.Read(m.boot[:]) // never fails since Go 1.24
	start := time.Now()
	m.now = func() int64 { return int64(time.Since(start)) }
	return m, nil
}
