//go:build !zos

package root

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"pando/internal/pack"
	"pando/root/consensus"
	"pando/stream/anomaly"
	"pando/stream/cep"
	"pando/tree/wire"
)

// The group keeps one set of patterns, as an entry carried it. Those of scope
// root run here: they see findings as they are committed. The others go down to
// the relays.

// patternLogic is the logic from which on the state holds patterns.
const patternLogic = firstLogic + 1

const (
	// maxPatternSet bounds an encoded set: it is one command, and one message to
	// each relay. The 256 patterns that a set may have take half of it if their
	// conditions are as long as those of docs/PATTERNS.md.
	maxPatternSet = wire.MaxPatterns
	// patternLateness is how far the patterns' watermark is behind the commands'
	// time, in nanoseconds. The findings of an incident come over several relays;
	// one that lost its parent, or the root's leader, is back within 2 or 3 s
	// (design, section 12), so findings that were on their way through either are
	// still put in their order. What comes later is taken as of the watermark: a
	// silence, say, is dated back to the last event, a minute before it is known,
	// and a place in the order is worth less than the alarm.
	patternLateness = int64(5e9)
	// maxMatches bounds the matches that one command makes findings of, as one
	// message bounds those of a relay. The rest is counted.
	maxMatches = 1024
	// maxPatternState bounds what a snapshot holds of the patterns' runs, in
	// bytes, which are fewer there than in memory.
	maxPatternState = 2 * MaxPatternBytes
)

// patterns is the set in force, and what the findings have come to in it.
type patterns struct {
	version uint64      // index of the entry that put it in force; 0: none did
	encoded []byte      // as that entry carried it
	set     *cep.Set    // nil: there never was one
	engine  *cep.Engine // of those of scope root; nil with set
	unsaid  uint64      // matches beyond maxMatches

	// The engine's state in bytes, nil once the engine has moved on: a mark and
	// a snapshot want them, the entries in between pay nothing.
	snapshot []byte
}

// frozenPatterns is what a view holds of them. The engine's state is there only
// for those who write the state out; see [FSM.Freeze].
type frozenPatterns struct {
	version uint64
	encoded []byte
	set     *cep.Set
	unsaid  uint64
	totals  cep.Totals
	next    int64 // root time at which a tick matters to the patterns
	engine  []byte
}

// patternOptions are fixed: they are part of the state machine's logic.
func patternOptions() cep.Options {
	o := cep.DefaultOptions()
	o.Late = cep.LateNow
	return o
}

func decodePatterns(b []byte) (*cep.Set, error) {
	r := pack.NewReader(b)
	set, err := cep.ReadSet(r)
	if err != nil {
		return nil, err
	}
	return set, r.Done()
}

func patternsCommand(now int64, base uint64, set []byte) []byte {
	w := command(cmdPatterns, now)
	w.Uint(base)
	w.Bin(set)
	return w.Bytes()
}

// stepMatching is the logic with patterns: step, and then what the patterns make
// of the time and the findings that the command told.
func (f *FSM) stepMatching(at consensus.At, kind uint8, r *pack.Reader) (result, []Change, error) {
	var res result
	var changes []Change
	if kind == cmdPatterns {
		res = f.exchangePatterns(at, r)
	} else {
		var err error
		if res, changes, err = f.step(at, kind, r); err != nil {
			return res, changes, err
		}
	}
	p := &f.state.patterns
	if kind == cmdRestored && p.set != nil {
		p.version = at.Index // whoever has a later set than the state of then is told of this one
		f.exchanged()
	}
	return res, slices.Concat(changes, f.match(at)), nil
}

// errEarlyPatterns says why a group takes no patterns yet.
var errEarlyPatterns = fmt.Errorf("patterns need logic %d in force: upgrade the programs of all roots", patternLogic)

// errPatternsMoved is the fault of a set that was to follow another one than is
// in force.
var errPatternsMoved = errors.New("somebody else applied patterns meanwhile: look at them by pando pattern list, and apply these again")

// exchangePatterns puts a set in force. Runs of patterns that do the same as
// before go on. A repetition does nothing; what is refused changes nothing.
func (f *FSM) exchangePatterns(at consensus.At, r *pack.Reader) result {
	base, body := r.Uint("base", math.MaxUint64), r.Bin("patterns", maxPatternSet)
	err := r.Done()
	var set *cep.Set
	if err == nil {
		set, err = decodePatterns(body)
	}
	s := f.state
	p := &s.patterns
	switch {
	case err != nil:
		s.counts.Malformed++
		return result{fault: err.Error()}
	case p.set != nil && bytes.Equal(body, p.encoded):
		return result{}
	case base != p.version:
		return result{fault: errPatternsMoved.Error()}
	}
	if err := p.load(set); err != nil {
		s.counts.Malformed++
		return result{fault: err.Error()}
	}
	p.version, p.encoded = at.Index, bytes.Clone(body)
	f.exchanged()
	return result{}
}

// exchanged tells whoever passes the set on.
func (f *FSM) exchanged() {
	if f.hooks.Exchanged != nil {
		f.hooks.Exchanged()
	}
}

// load exchanges the patterns that run here.
func (p *patterns) load(set *cep.Set) error {
	here := set.For(cep.Root)
	if p.engine != nil {
		p.engine.Reconfigure(here)
	} else {
		engine, err := cep.New(here, patternOptions())
		if err != nil {
			return err
		}
		p.engine = engine
	}
	p.set, p.snapshot = set, nil
	return nil
}

// observe shows the patterns a finding that is committed for the first time.
// They see none that a pattern made, so a match makes no further one. A finding
// that tells the future, as none may, would wait for ever.
func (p *patterns) observe(f *anomaly.Finding, now int64) {
	if p.engine == nil || f.Detector == cep.DetectorPattern {
		return
	}
	x := cep.FromFinding(f)
	x.Time = min(x.Time, max(now, 0))
	p.engine.Observe(&x)
	p.snapshot = nil
}

// match lets the patterns' time follow the commands', and puts what that
// completes into incidents.
func (f *FSM) match(at consensus.At) []Change {
	s := f.state
	p := &s.patterns
	if p.engine == nil {
		return nil
	}
	matches := p.engine.Advance(s.now - patternLateness)
	p.snapshot = nil
	if extra := len(matches) - maxMatches; extra > 0 {
		p.unsaid += uint64(extra)
		matches = matches[:maxMatches]
	}
	var said []anomaly.Finding
	for i := range matches {
		// One that began with the same event as another is the same finding.
		if x := matches[i].Finding(s.now); s.remember(x.ID, at) {
			said = append(said, x)
		}
	}
	if len(said) == 0 {
		return nil
	}
	changes := s.record(at, s.set.AddAll(said, s.graph))
	if f.hooks.Committed != nil {
		for i := range said {
			f.hooks.Committed(&said[i], at, true)
		}
	}
	return changes
}

// bytes is the engine's state.
func (p *patterns) bytes() []byte {
	if p.engine != nil && p.snapshot == nil {
		w := pack.NewWriter()
		p.engine.Snapshot(w)
		p.snapshot = w.Bytes()
	}
	return p.snapshot
}

func (p *patterns) freeze() frozenPatterns {
	v := frozenPatterns{version: p.version, encoded: p.encoded, set: p.set, unsaid: p.unsaid, next: math.MaxInt64}
	if p.engine != nil {
		v.totals = p.engine.Totals()
		if next := p.engine.Next(); next < math.MaxInt64-patternLateness {
			v.next = next + patternLateness
		}
	}
	return v
}

// append writes the patterns as a snapshot has them.
func (v *frozenPatterns) append(w *pack.Writer) {
	w.Uint(v.version)
	w.Bool(v.set != nil)
	if v.set == nil {
		return
	}
	w.Bin(v.encoded)
	w.Uint(v.unsaid)
	w.Bin(v.engine)
}

// sum hashes what append writes.
func (p *patterns) sum() [32]byte {
	v := p.freeze()
	v.engine = p.bytes()
	w := pack.NewWriter()
	v.append(w)
	return sha256.Sum256(w.Bytes())
}

// read reads what append wrote, and checks it.
func (p *patterns) read(r *pack.Reader) {
	p.version = r.Uint("version of patterns", math.MaxUint64)
	if !r.Bool("patterns") {
		return
	}
	p.encoded = bytes.Clone(r.Bin("patterns", maxPatternSet))
	p.unsaid = r.Uint("matches", math.MaxUint64)
	engine := r.Bin("runs", maxPatternState)
	if r.Err() != nil {
		return
	}
	set, err := decodePatterns(p.encoded)
	if err == nil {
		err = p.load(set)
	}
	if err == nil {
		runs := pack.NewReader(engine)
		err = errors.Join(p.engine.Restore(runs), runs.Done())
	}
	if err != nil {
		r.Fail("patterns", fmt.Errorf("cannot be taken up: %w", err))
	}
}
