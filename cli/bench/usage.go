//go:build !zos

package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process has taken since its start.
type Usage struct {
	CPU     float64 // seconds of processor time, user and system, as the kernel counts
	RSS     float64 // MiB resident now
	PeakRSS float64 // MiB resident at most

	// As the runtime counts, up to the last collection: seconds in which its
	// threads were busy, and of these, collecting garbage. They are not CPU: on
	// a machine that is short of it, waiting for a processor counts in both, so
	// only their ratio means something.
	Busy, GC float64
}

func readUsage() (u Usage, err error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
	// Marking on processors that nobody wanted is neither.
	classes := []metrics.Sample{{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(classes)
	idleMark := classes[2].Value.Float64()
	u.Busy = classes[0].Value.Float64() - classes[1].Value.Float64() - idleMark
	u.GC = classes[3].Value.Float64() - idleMark
	u.RSS, u.PeakRSS = residentSet()
	if u.PeakRSS == 0 {
		unit := float64(1 << 10) // of kB to a MiB
		if runtime.GOOS == "darwin" {
			unit = 1 << 20
		}
		u.PeakRSS = float64(r.Maxrss) / unit
		u.RSS = u.PeakRSS
	}
	return u, nil
}

// residentSet reads what Linux says; zeros elsewhere. What getrusage says of
// the peak counts the process that this one was started from as well.
func residentSet() (now, peak float64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		kB, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		switch name {
		case "VmRSS":
			now = kB / (1 << 10)
		case "VmHWM":
			peak = kB / (1 << 10)
		}
	}
	return now, peak
}

// cpuModel is what Linux calls the processor; empty elsewhere.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(info)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
