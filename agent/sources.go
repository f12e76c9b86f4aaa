package agent

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"pando/agent/input"
	"pando/event"
)

// sources runs the sources of one life, and exchanges them while it lasts.
type sources struct {
	a    *Agent
	l    *life
	ctx  context.Context // ends all of them
	fail func(error)     // of the first that fails
	all  sync.WaitGroup

	mu      sync.Mutex
	running []*running // in the order of the configuration
	over    bool       // nothing starts any more
}

// running is one source at work.
type running struct {
	spec input.Spec
	stop context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	source input.Source // nil until it may start
}

// set makes the running sources those of specs. A source whose description is
// the same goes on undisturbed; one that changed is stopped, and goes on under
// its new description behind the last line that it handed over. It returns the
// names of those that were started, stopped or exchanged.
func (s *sources) set(specs []input.Spec) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	var next, ended []*running
	var changed []string
	for _, r := range s.running {
		if !slices.ContainsFunc(specs, func(spec input.Spec) bool { return reflect.DeepEqual(spec, r.spec) }) {
			r.stop()
			ended = append(ended, r)
			changed = append(changed, r.spec.Name)
		}
	}
	for _, spec := range specs {
		at := slices.IndexFunc(s.running, func(r *running) bool { return reflect.DeepEqual(spec, r.spec) })
		if at >= 0 {
			next = append(next, s.running[at])
			continue
		}
		if !slices.Contains(changed, spec.Name) {
			changed = append(changed, spec.Name)
		}
		next = append(next, s.start(spec, ended))
	}
	s.running = next
	return changed
}

// wait returns once all sources have ended, which their context must have told
// them to.
func (s *sources) wait() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.all.Wait()
}

// start starts a source once those that it may replace have ended.
func (s *sources) start(spec input.Spec, after []*running) *running {
	ctx, stop := context.WithCancel(s.ctx)
	r := &running{spec: spec, stop: stop, done: make(chan struct{})}
	s.all.Go(func() {
		defer close(r.done)
		defer stop()
		for _, old := range after {
			<-old.done
		}
		if err := s.run(ctx, r); err != nil && ctx.Err() == nil {
			s.fail(err)
		}
	})
	return r
}

// run runs one source. What can be read again waits, under a new WAL id, for
// the root's word where to start.
func (s *sources) run(ctx context.Context, r *running) error {
	if r.spec.Type == input.TypeTail {
		select {
		case <-s.l.resumed:
		case <-ctx.Done():
			return nil
		}
	}
	templates, err := s.a.templates.of(&r.spec)
	if err != nil {
		return err
	}
	source, err := input.New(input.Options{Spec: r.spec, Sink: s.l.intake, Clock: s.a.clock.Mono, Templates: templates,
		Wall:   func() time.Time { return time.Unix(0, s.a.opts.Wall()) },
		Logger: s.a.log, Registerer: s.a.count.sources(), Resume: s.positions()})
	if err != nil {
		return fmt.Errorf("source %q: %w", r.spec.Name, err)
	}
	r.mu.Lock()
	r.source = source
	r.mu.Unlock()
	return source.Run(ctx)
}

// positions are where the sources stand: by the log, or further on, by what
// was handed over and is on its way there.
func (s *sources) positions() [event.Lanes][]event.Position {
	resume, _ := s.a.positions(s.l)
	return s.l.intake.ahead(resume)
}

// statuses are the sources' own words, in the order of the configuration.
func (s *sources) statuses() []input.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []input.Status
	for _, r := range s.running {
		r.mu.Lock()
		if r.source != nil {
			list = append(list, r.source.Status())
		}
		r.mu.Unlock()
	}
	return list
}
