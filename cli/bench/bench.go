//go:build !zos

// Package bench measures whole paths through Pando on one machine, with
// everything on: mutual TLS over TCP, logs with fsync, detectors, Raft.
//
//	Relay:  generator ═ batches ═► relay ─ sections, findings ─► root
//	Tree:   generator ─ lines ─► agents ═► relays ═► root ×3
//
// Each node is a process of its own, the program started again, so that what
// the kernel counts for a process is what a tier costs, and a generator that
// shares the machine is in nobody's figures but its own. What is measured is
// the roles as the product has them; nothing here knows how they work inside.
//
// A measurement that lost or doubled an event is a failed one: what was sent
// is compared with what the root holds at the end, unit by unit, by count and
// exact sum.
package bench

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// Options are what both benchmarks need.
type Options struct {
	For time.Duration // of what is measured; at least [MinFor]

	// Entities times Signals is how many series there are; Agents share the
	// entities among them.
	Entities, Signals, Agents int

	// Dir is where the data of the nodes goes; empty: the system's folder for
	// temporary files. What is made in it is removed in the end.
	Dir string
	// ProfileDir is a folder that gets a CPU profile of each process, in the
	// format of pprof; empty: none is taken.
	ProfileDir string

	// Command makes a command that runs [Serve] with the tier's name, with
	// whatever streams; this program, usually.
	Command func(tier string) *exec.Cmd
	// Progress gets a line every few seconds, and what the nodes log, from
	// several goroutines at once; nil: silent.
	Progress io.Writer
	LogLevel slog.Level // of the nodes
}

// Bounds of the options.
const (
	// MinFor is so long that garbage is collected and bulk is settled within.
	MinFor = time.Second
	// MaxFor keeps a mistyped duration from filling the disk.
	MaxFor = 24 * time.Hour
	// MaxAgents bounds processes and sessions.
	MaxAgents = 64
	// MaxSeries is what the generator keeps in memory, at some 100 bytes each.
	MaxSeries = 1 << 20
)

// Validate reports the first fault.
func (o *Options) Validate() error {
	switch {
	case o.For < MinFor || o.For > MaxFor:
		return fmt.Errorf("for: %v is outside %v to %v", o.For, MinFor, MaxFor)
	case o.Agents < 1 || o.Agents > MaxAgents:
		return fmt.Errorf("agents: %d is outside 1 to %d", o.Agents, MaxAgents)
	case o.Entities < o.Agents:
		return fmt.Errorf("entities: %d for %d agents: each needs one of its own", o.Entities, o.Agents)
	case o.Signals < 1 || o.Entities*o.Signals > MaxSeries:
		return fmt.Errorf("series: %d entities of %d signals are outside 1 to %d", o.Entities, o.Signals, MaxSeries)
	}
	return nil
}

// Figures are what both benchmarks report of a run. Their JSON is an interface.
type Figures struct {
	Workload Workload `json:"workload"`
	Machine  Machine  `json:"machine"`

	// EventsPerS is what the run reached: made durable and stepped by the
	// relay, or settled at the roots.
	EventsPerS float64 `json:"events_per_s"`
	// CPU is processor time, user and system, for a million events, by tier.
	CPU map[string]float64 `json:"cpu_s_per_million"`
	// BytesPerEvent went from the agents' side to the relays', TLS and all.
	BytesPerEvent float64 `json:"bytes_per_event"`
	// PeakRSS is the most memory that was resident, in MiB: of the relay, or
	// of all agents, relays and roots together.
	PeakRSS float64 `json:"peak_rss_mib"`
	// GCShare is the part of the same processes' busy time that went to
	// collecting garbage, 0 to 1, as Go's runtime estimates it.
	GCShare float64 `json:"gc_share"`
	// Lost and Doubled compare what was sent with what the root holds.
	Lost    uint64 `json:"lost"`
	Doubled uint64 `json:"doubled"`

	Events   Events          `json:"events"`
	Duration Duration        `json:"duration_s"`
	Tiers    map[string]Tier `json:"tiers"`
}

// Workload says what was sent.
type Workload struct {
	Kind      string  `json:"kind"` // metric, log, line
	Entities  int     `json:"entities"`
	Signals   int     `json:"signals"` // of each entity
	Series    int     `json:"series"`
	Agents    int     `json:"agents"`
	Batch     int     `json:"batch,omitempty"` // events; of the tree the agents decide
	CodeShare float64 `json:"code_share"`      // of events that carry a code
	Rate      float64 `json:"rate,omitempty"`  // events a second that were offered; 0: as many as are taken
	Relays    int     `json:"relays"`
	Roots     int     `json:"roots"`
	Series80  int     `json:"series_with_80_percent"` // how skewed the choice of series is
}

// Machine is what the run had to itself, or shared.
type Machine struct {
	Cores int    `json:"cores"`
	CPU   string `json:"cpu,omitempty"`
	Go    string `json:"go"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Disk  Disk   `json:"fdatasync_ms,omitzero"` // of a page, before the nodes start; not measured where none matters
}

// Events counts what was sent.
type Events struct {
	Sent     uint64 `json:"sent"`     // in the whole run
	Settled  uint64 `json:"settled"`  // of these, at the root in the end
	Measured uint64 `json:"measured"` // in the time that EventsPerS is of
}

// Duration of the parts of a run, in seconds.
type Duration struct {
	WarmUp   float64 `json:"warm_up"`
	Measured float64 `json:"measured"`
	Settle   float64 `json:"settle"` // from the last event to its settlement
}

// Tier is what the processes of one tier took while it was measured.
type Tier struct {
	Processes int     `json:"processes"`
	CPU       float64 `json:"cpu_s"`
	Cores     float64 `json:"cores"`         // kept busy, on average
	GCShare   float64 `json:"gc_share"`      // of its busy time
	PeakRSS   float64 `json:"peak_rss_mib"`  // of all together, since their start
	RSSBefore float64 `json:"rss_mib_first"` // when measuring began, and ended:
	RSSAfter  float64 `json:"rss_mib_last"`  // memory is flat if these are alike
}

// Percentiles of a latency, in milliseconds.
type Percentiles struct {
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
	Max     float64 `json:"max"`
	Samples uint64  `json:"samples"`
}

// bench is one run under way.
type bench struct {
	opts  Options
	dir   string
	crew  *crew
	begun time.Time
	told  time.Time // when progress was last told
}

// enter makes the folder and measures the disk under it; leave stops all
// processes and removes the folder.
func enter(o Options) (b *bench, disk Disk, leave func() error, err error) {
	b = &bench{opts: o, begun: time.Now()}
	if o.ProfileDir != "" {
		if err := os.MkdirAll(o.ProfileDir, 0o755); err != nil {
			return nil, disk, nil, err
		}
	}
	if b.dir, err = os.MkdirTemp(o.Dir, "pando-bench-"); err != nil {
		return nil, disk, nil, err
	}
	remove := func() error { return os.RemoveAll(b.dir) }
	if b.dir, err = filepath.Abs(b.dir); err == nil {
		disk, err = measureDisk(b.dir)
	}
	if err == nil {
		b.crew, err = newCrew(b.dir, o)
	}
	if err != nil {
		return nil, disk, nil, errors.Join(err, remove())
	}
	return b, disk, func() error {
		b.crew.stop()
		return remove()
	}, nil
}

// progressEvery is how often a run tells how it goes.
const progressEvery = 2 * time.Second

// tell says how a run goes, now and then.
func (b *bench) tell(format string, args ...any) {
	if b.opts.Progress == nil || time.Since(b.told) < progressEvery {
		return
	}
	b.told = time.Now()
	fmt.Fprintf(b.opts.Progress, "%5.1fs  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (o *Options) workload(kind string, relays, roots int) Workload {
	series := o.Entities * o.Signals
	return Workload{Kind: kind, Entities: o.Entities, Signals: o.Signals, Series: series, Agents: o.Agents,
		CodeShare: codeShare, Relays: relays, Roots: roots, Series80: o.Agents * zipfReach(series/o.Agents, 0.8)}
}

func machine(d Disk) Machine {
	return Machine{Cores: runtime.NumCPU(), CPU: cpuModel(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Disk: d}
}

// spend fills in what the tiers took between two readings while so many events
// were handled. The subjects are the tiers that memory and garbage are of.
func (f *Figures) spend(before, after usages, events uint64, subjects ...string) {
	f.CPU, f.Tiers = map[string]float64{}, map[string]Tier{}
	var gc, busy float64
	for name, list := range after.tiers {
		var t Tier
		garbage, all := 0.0, 0.0
		for i, u := range list {
			was := before.tiers[name][i]
			t.Processes++
			t.CPU += u.CPU - was.CPU
			garbage, all = garbage+u.GC-was.GC, all+u.Busy-was.Busy
			t.PeakRSS += u.PeakRSS
			t.RSSBefore += was.RSS
			t.RSSAfter += u.RSS
		}
		t.GCShare = ratio(garbage, all)
		t.Cores = ratio(t.CPU, after.at.Sub(before.at).Seconds())
		f.Tiers[name] = t
		f.CPU[name] = ratio(t.CPU*1e6, float64(events))
		if slices.Contains(subjects, name) {
			gc, busy = gc+garbage, busy+all
			f.PeakRSS += t.PeakRSS
		}
	}
	f.GCShare = ratio(gc, busy)
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}
