//go:build !zos

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tierVariable makes this test's program one process of a benchmark.
const tierVariable = "PANDO_BENCH_TIER"

func TestMain(m *testing.M) {
	tier := os.Getenv(tierVariable)
	if tier == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Serve(ctx, tier, os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// small makes a run of the tests out of the defaults.
func small(t *testing.T, o Options) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Command = func(tier string) *exec.Cmd {
		c := exec.Command(exe)
		c.Env = append(os.Environ(), tierVariable+"="+tier)
		return c
	}
	o.Dir, o.Progress = t.TempDir(), t.Output()
	o.Entities, o.Agents = 20, 2
	return o
}

// mayBeZero are figures that a right run may have as 0.
var mayBeZero = map[string]bool{"lost": true, "doubled": true, "workload.rate": true, "workload.batch": true, "sessions_lost": true, "machine.cpu": true,
	"gc_share": true, "tiers.agent.gc_share": true, "tiers.relay.gc_share": true, "tiers.root.gc_share": true, "tiers.generator.gc_share": true,
	"latency_ms.tenth.lag_s": true, "latency_ms.half.lag_s": true, "latency_ms.most.lag_s": true}

// leaves lists the fields of a JSON document that hold no others.
func leaves(t *testing.T, value any) map[string]any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	found := map[string]any{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		fields, ok := v.(map[string]any)
		if !ok {
			found[strings.TrimPrefix(at, ".")] = v
			return
		}
		for name, f := range fields {
			walk(at+"."+name, f)
		}
	}
	walk("", doc)
	return found
}

// check demands fields by name, and that no figure is missing or 0.
func check(t *testing.T, result any, f *Figures, fields ...string) {
	t.Helper()
	found := leaves(t, result)
	for _, name := range append(fields, "events_per_s", "bytes_per_event", "peak_rss_mib", "gc_share", "lost", "doubled",
		"cpu_s_per_million.relay", "cpu_s_per_million.root", "cpu_s_per_million.generator", "workload.series", "workload.kind",
		"machine.cores", "machine.go", "machine.fdatasync_ms.p99") {
		if _, ok := found[name]; !ok {
			t.Errorf("no field %s", name)
		}
	}
	for name, v := range found {
		if n, ok := v.(float64); (ok && n <= 0 || v == "") && !mayBeZero[name] {
			t.Errorf("%s is %v", name, v)
		}
	}
	if f.Events.Sent != f.Events.Settled || f.Lost+f.Doubled > 0 {
		t.Errorf("%d events sent, %d settled, %d lost, %d doubled", f.Events.Sent, f.Events.Settled, f.Lost, f.Doubled)
	}
}

func TestARelayIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts three processes and measures for a second")
	}
	o := DefaultRelayOptions()
	o.Options = small(t, o.Options)
	o.For, o.Batch, o.Rate, o.ProfileDir = time.Second, 256, 20_000, t.TempDir()
	r, err := Relay(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, &r.Figures, "latency_ms.p50", "latency_ms.p99", "latency_ms.p999")
	nothingLeft(t, o.Dir)
	for _, name := range []string{"root1", "relay1", "generator"} {
		if s, err := os.Stat(filepath.Join(o.ProfileDir, name+".pprof")); err != nil || s.Size() == 0 {
			t.Errorf("profile of %s: %v", name, err)
		}
	}
}

// whenSending does something once, when the first progress of a rate is told.
type whenSending struct {
	io.Writer
	do   func()
	once sync.Once
}

func (w *whenSending) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(" events/s")) {
		w.once.Do(w.do)
	}
	return w.Writer.Write(line)
}

// A machine that is short of processors starves heartbeats, and a relay hangs up
// on an agent that it does not hear. Nothing of that is lost or doubled.
func TestALostSessionIsResumed(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts three processes and measures for some seconds")
	}
	o := DefaultRelayOptions()
	o.Options = small(t, o.Options)
	o.For, o.Kind, o.Batch = 4*time.Second, KindLog, 64
	var generator *exec.Cmd
	command := o.Command
	o.Command = func(tier string) *exec.Cmd {
		c := command(tier)
		if tier == tierGenerator {
			generator = c
		}
		return c
	}
	o.Progress = &whenSending{Writer: o.Progress, do: func() {
		_ = generator.Process.Signal(syscall.SIGSTOP)
		time.Sleep(2 * time.Second) // four times as long as a relay waits
		_ = generator.Process.Signal(syscall.SIGCONT)
	}}
	r, err := Relay(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.SessionsLost == 0 {
		t.Error("no session was lost, so nothing was tested")
	}
	check(t, r, &r.Figures)
}

func TestATreeIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a whole tree of processes and measures for two seconds")
	}
	o := DefaultTreeOptions()
	o.Options = small(t, o.Options)
	o.For, o.Relays = 2*time.Second, 1
	r, err := Tree(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, load := range []string{"tenth", "half", "most"} {
		for _, p := range []string{"p50", "p99", "p999"} {
			fields = append(fields, "latency_ms."+load+"."+p)
		}
	}
	check(t, r, &r.Figures, append(fields, "cpu_s_per_million.agent")...)
	nothingLeft(t, o.Dir)
}

// nothingLeft demands that a run removed what it made.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left (error %v)", left, err)
	}
}

// A process that cannot start, or dies, is an error that names it, and no
// figure.
func TestAProcessThatDiesFailsTheRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	o := DefaultRelayOptions()
	o.Options = small(t, o.Options)
	command := o.Command
	o.Command = func(tier string) *exec.Cmd {
		c := command(tier)
		if tier == tierRelay {
			c.Env = append(c.Env, tierVariable+"=nothing")
		}
		return c
	}
	o.Progress = nil
	r, err := Relay(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "relay1") || r.EventsPerS != 0 {
		t.Errorf("%v, %v events/s", err, r.EventsPerS)
	}
	nothingLeft(t, o.Dir)
}

func TestARunEndsWithItsContext(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	o := DefaultRelayOptions()
	o.Options = small(t, o.Options)
	o.For, o.Rate = MaxFor, 10_000
	stopped := errors.New("somebody had enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, stopped)
	defer cancel()
	if _, err := Relay(ctx, o); !errors.Is(err, stopped) {
		t.Errorf("error %v", err)
	}
	nothingLeft(t, o.Dir)
}
