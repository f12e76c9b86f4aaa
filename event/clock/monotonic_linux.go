package clock

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bootIDFile holds the UUID that the kernel draws at boot (random(4)).
const bootIDFile = "/proc/sys/kernel/random/boot_id"

func newMonotonic() (*Monotonic, error) {
	text, err := os.ReadFile(bootIDFile)
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	boot, err := parseBoot(string(text))
	if err != nil {
		return nil, fmt.Errorf("read boot id from %s: %w", bootIDFile, err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return nil, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return &Monotonic{boot: boot, now: bootTime}, nil
}

// bootTime reads a clock that newMonotonic has read before: the call has no
// other way to fail.
func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}

func parseBoot(text string) (Boot, error) {
	var boot Boot
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), "-", ""))
	if err == nil && len(b) != len(boot) {
		err = errors.New("not a UUID")
	}
	if err != nil {
		return boot, fmt.Errorf("parse %q: %w", text, err)
	}
	copy(boot[:], b)
	return boot, nil
}
