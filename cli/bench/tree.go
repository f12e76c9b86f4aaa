//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pando/agent/input"
	"pando/transport"
)

// TreeOptions say how to measure a whole tree.
type TreeOptions struct {
	Options
	Relays int
	Probes float64 // a second, of all agents
}

// DefaultTreeOptions are a small tree with the workload of the design's table.
func DefaultTreeOptions() TreeOptions {
	return TreeOptions{Relays: 2, Probes: 10, Options: Options{For: time.Minute, Entities: 200, Signals: 20, Agents: 2}}
}

const (
	groupSize = 3
	maxRelays = 8
	// maxProbes keeps the incidents that probes make from being the load.
	maxProbes = 100
	minProbes = 1
)

// Validate reports the first fault.
func (o *TreeOptions) Validate() error {
	switch {
	case o.Relays < 1 || o.Relays > maxRelays:
		return fmt.Errorf("relays: %d are outside 1 to %d", o.Relays, maxRelays)
	case !(o.Probes >= minProbes && o.Probes <= maxProbes):
		return fmt.Errorf("probes: %v a second are outside %d to %d", o.Probes, minProbes, maxProbes)
	}
	return o.Options.Validate()
}

// TreeResult is what a run came to. Its JSON is an interface.
type TreeResult struct {
	Figures
	// Latency is from the write of a line to the moment at which the incident
	// that the tree makes of it can be read at a root, so after its finding
	// was committed. It includes the way into the agent.
	Latency Loads `json:"latency_ms"`
}

// Loads are measured at parts of the highest rate: 10, 50 and 90 %.
type Loads struct {
	Tenth Load `json:"tenth"`
	Half  Load `json:"half"`
	Most  Load `json:"most"`
}

// Load is what probes saw while lines were written at a rate.
type Load struct {
	Percentiles
	Rate float64 `json:"rate"`  // lines a second
	Lag  float64 `json:"lag_s"` // how far settlement was behind in the end
}

// Parts of the time that is measured, and of the highest rate.
const (
	peakPart  = 0.4
	loadPart  = 0.2
	tenthLoad = 0.1
	halfLoad  = 0.5
	mostLoad  = 0.9
)

// Tree measures a whole tree: lines into files, agents that read them, relays,
// three roots. It finds the highest rate at which settlement keeps up, then
// measures how long single lines take to become incidents at parts of it. The
// result is valid if the error is nil.
func Tree(ctx context.Context, o TreeOptions) (r TreeResult, err error) {
	if err := o.Validate(); err != nil {
		return r, fmt.Errorf("bench tree: %w", err)
	}
	b, disk, leave, err := enter(o.Options)
	if err != nil {
		return r, fmt.Errorf("bench tree: %w", err)
	}
	defer func() { err = errors.Join(err, leave()) }()
	r.Workload, r.Machine = o.workload(kindLine, o.Relays, groupSize), machine(disk)
	if err := b.tree(ctx, &o, &r); err != nil {
		return r, fmt.Errorf("bench tree: %w", err)
	}
	return r, nil
}

func (b *bench) tree(ctx context.Context, o *TreeOptions, r *TreeResult) error {
	roots, err := b.plantRoots(ctx, groupSize)
	if err != nil {
		return err
	}
	relays, err := b.plantRelays(ctx, o.Relays, roots)
	if err != nil {
		return err
	}
	d, err := b.plantAgents(ctx, o, relays)
	if err != nil {
		return err
	}
	if err := d.peak(ctx, o.For, &r.Figures); err != nil {
		return err
	}
	for _, l := range []struct {
		part float64
		out  *Load
	}{{tenthLoad, &r.Latency.Tenth}, {halfLoad, &r.Latency.Half}, {mostLoad, &r.Latency.Most}} {
		if *l.out, err = d.load(ctx, l.part*r.EventsPerS, o); err != nil {
			return err
		}
	}
	return d.settle(ctx, &r.Figures)
}

// Names of an agent's sources.
const (
	linesSource = "lines"
	probeSource = "probe"
)

// plantAgents starts agents, each with a file and a listener, and the writer of
// both.
func (b *bench) plantAgents(ctx context.Context, o *TreeOptions, relays []string) (*driver, error) {
	s := WriteSpec{Entities: o.Entities, Signals: o.Signals}
	for i := range o.Agents {
		name := fmt.Sprintf("agent%d", i+1)
		spec, err := b.crew.spec(transport.RoleAgent, name)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(spec.Dir, "lines.json")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, err
		}
		w, err := b.crew.start(tierAgent, name)
		if err != nil {
			return nil, err
		}
		spec.Parents = relays[i%len(relays):][:1]
		if err := w.call(ctx, "Start", AgentSpec{spec, sources(path)}, &None{}); err != nil {
			return nil, err
		}
		s.Paths = append(s.Paths, path)
	}
	for _, w := range b.crew.of(tierAgent) {
		addr := ""
		err := b.crew.await(ctx, w.name+" that reads its sources", growthLimit, func() error { return w.call(ctx, "Listens", probeSource, &addr) })
		if err != nil {
			return nil, err
		}
		s.Listeners = append(s.Listeners, addr)
	}
	w, err := b.crew.start(tierWriter, "generator")
	if err != nil {
		return nil, err
	}
	return &driver{bench: b, writer: w}, w.call(ctx, "Start", s, &None{})
}

func sources(path string) []input.Spec {
	return []input.Spec{
		{Name: linesSource, Type: input.TypeTail, Path: path, Format: input.FormatJSON,
			Entity: "{entity}", Signal: "{signal}", Value: "{value|1}", Severity: "{level|info}"},
		{Name: probeSource, Type: input.TypeSyslog, Listen: loopback, Entity: probeEntity + "{procid}", Severity: "error",
			Criticality: []input.CritRule{{Signal: "^abend", Level: 0}}},
	}
}
