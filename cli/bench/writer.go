//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pando/event"
	"pando/internal/exact"
)

const (
	// probeEntity begins the name of a component that fails once: the default
	// rule for abends makes a finding of it, and the root an incident.
	probeEntity = "probe/"

	// blockLines are written at once, and blocks of them go round.
	blockLines = 256
	// writeEvery is how finely lines are spread in time: finer than the 10 ms
	// at which agents look at files.
	writeEvery = 2 * time.Millisecond
	// rotateBytes is how large a file grows before it is renamed and another
	// one begun, as logs are rotated. The one before is overwritten then, which
	// its agent has read long before.
	rotateBytes = 256 << 20
	// flushEvery is how often what was written is brought to the disk. Left to the
	// kernel it goes there in one burst after half a minute, and for a second or two
	// no sync of any node comes through.
	flushEvery = 500 * time.Millisecond
)

// writer is the process that writes what agents read: lines of JSON into one
// file for each agent, and probes to the agents' syslog listeners.
type writer struct {
	*process
	files []*lines

	mu     sync.Mutex
	rate   float64 // lines a second of all files; infinite: as the limit allows
	since  time.Time
	base   uint64 // lines that were written before since
	limit  atomic.Uint64
	halted atomic.Bool
	idle   chan struct{} // closed when nothing more is written

	probing sync.Mutex
	conns   []net.Conn
	probes  []Probe
}

// WriteSpec says what to write, and where.
type WriteSpec struct {
	Paths             []string // of the agents' files
	Listeners         []string // of the agents' syslog sources
	Entities, Signals int
}

// Probe is one line that an agent must make an incident of.
type Probe struct {
	Entity string
	At     time.Time // when it was given to the connection
}

// block is some lines and what they add up to.
type block struct {
	text []byte
	sum  exact.Sum
}

// lines are what goes to one file.
type lines struct {
	path    string
	file    *os.File
	size    int
	most    int // size at which it is rotated
	blocks  []block
	next    int
	written atomic.Uint64
	sum     exact.Sum // after the writer has halted
}

// Start renders the lines and opens files and connections. Nothing is written
// before Pace.
func (w *writer) Start(s WriteSpec, _ *None) error {
	o := &Options{Entities: s.Entities, Signals: s.Signals, Agents: len(s.Paths)}
	for i, path := range s.Paths {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		w.files = append(w.files, &lines{path: path, file: f, most: rotateBytes, blocks: render(newEvents(kindLine, o, i))})
	}
	for _, addr := range s.Listeners {
		conn, err := (&net.Dialer{}).DialContext(w.ctx, "tcp", addr)
		if err != nil {
			return err
		}
		w.conns = append(w.conns, conn)
	}
	w.idle = make(chan struct{})
	w.run(w.write)
	w.run(w.flush)
	return nil
}

// flush brings the files to the disk as they grow.
func (w *writer) flush(ctx context.Context) error {
	for ctx.Err() == nil {
		pause(ctx, flushEvery)
		for _, l := range w.files {
			f, err := os.Open(l.path)
			if errors.Is(err, os.ErrNotExist) { // it is being rotated
				continue
			}
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			if err != nil {
				w.fail(err)
				return err
			}
		}
	}
	return nil
}

// render makes lines of all draws.
func render(e *events) (list []block) {
	for at := 0; at+blockLines <= len(e.draws); at += blockLines {
		var b block
		for i := range blockLines {
			d := &e.draws[at+i]
			b.text = fmt.Appendf(b.text, "{\"entity\":%q,\"signal\":%q,", d.entity, d.signal)
			if d.coded {
				b.text = append(b.text, "\"level\":\"warn\"}\n"...)
			} else {
				b.text = fmt.Appendf(b.text, "\"value\":%s}\n", strconv.FormatFloat(d.value, 'g', -1, 64))
			}
			b.sum = b.sum.Add(d.exact)
		}
		list = append(list, b)
	}
	return list
}

// Pace is how fast to write from now on.
type Pace struct {
	Rate  float64 // lines a second; 0: as the limit allows
	Limit uint64  // lines in all, which bounds what is not settled; 0: none
}

// Pace sets the pace, and goes on from what was written.
func (w *writer) Pace(p Pace, _ *None) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rate != p.Rate || w.since.IsZero() {
		w.rate, w.since, w.base = p.Rate, time.Now(), w.written()
	}
	if p.Limit == 0 {
		p.Limit = math.MaxUint64
	}
	w.limit.Store(p.Limit)
	return w.failure()
}

func (w *writer) written() (n uint64) {
	for _, f := range w.files {
		n += f.written.Load()
	}
	return n
}

// due is how many lines are to be written in all by now.
func (w *writer) due() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	due := uint64(math.MaxUint64)
	switch {
	case w.since.IsZero():
		return 0
	case w.rate > 0:
		due = w.base + uint64(time.Since(w.since).Seconds()*w.rate)
	}
	return min(due, w.limit.Load())
}

// write writes what is due, a block to each file in turn.
func (w *writer) write(ctx context.Context) error {
	defer func() { <-ctx.Done() }() // a part that ends earlier has failed: see run
	defer close(w.idle)
	for at := 0; ctx.Err() == nil && !w.halted.Load(); {
		if w.written()+blockLines > w.due() {
			pause(ctx, writeEvery)
			continue
		}
		if err := w.files[at].write(); err != nil {
			w.fail(err)
			return err
		}
		at = (at + 1) % len(w.files)
	}
	return nil
}

func (l *lines) write() error {
	b := &l.blocks[l.next%len(l.blocks)]
	if l.size+len(b.text) > l.most {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if _, err := l.file.Write(b.text); err != nil {
		return err
	}
	l.next++
	l.size += len(b.text)
	l.sum = l.sum.Add(b.sum)
	l.written.Add(blockLines)
	return nil
}

func (l *lines) rotate() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return err
	}
	var err error
	l.file, err = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	l.size = 0
	return err
}

// Probe has one agent after the other report an abend of a component that was
// never heard of.
func (w *writer) Probe(None, *None) error {
	w.probing.Lock()
	defer w.probing.Unlock()
	n := len(w.probes)
	p := Probe{Entity: probeEntity + fmt.Sprintf("p%06d", n), At: time.Now()}
	w.probes = append(w.probes, p)
	_, err := fmt.Fprintf(w.conns[n%len(w.conns)], "<131>1 - probe app %s abend.PROBE - failed\n", p.Entity[len(probeEntity):])
	return err
}

// Written is what a writer did.
type Written struct {
	Lines  uint64 // without probes
	Probes []Probe
}

// Written tells how much was written, with the probes from one on.
func (w *writer) Written(from int, out *Written) error {
	w.probing.Lock()
	defer w.probing.Unlock()
	*out = Written{Lines: w.written(), Probes: w.probes[min(from, len(w.probes)):]}
	return w.failure()
}

// Halt stops writing for good.
func (w *writer) Halt(None, *None) error {
	w.halted.Store(true)
	<-w.idle
	return w.failure()
}

// Accounts are those of all agents, by position, once the writer has halted:
// lines go to the bulk lane, probes to the critical one.
func (w *writer) Accounts(_ None, list *[]Account) error {
	if !w.halted.Load() {
		return errors.New("not halted")
	}
	w.probing.Lock()
	defer w.probing.Unlock()
	for i, f := range w.files {
		probes := (len(w.probes) - i + len(w.files) - 1) / len(w.files)
		*list = append(*list,
			Account{Lane: event.Critical.String(), Events: uint64(probes), Sum: exact.FromInt(int64(probes)).String()},
			Account{Lane: event.Bulk.String(), Events: f.written.Load(), Sum: f.sum.String()})
	}
	return nil
}
