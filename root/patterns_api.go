//go:build !zos

package root

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"pando/stream/cep"
	"pando/tree/wire"
)

// MaxPatternBytes bounds what the patterns of one scope may take by their own
// limits, in bytes: a set that could take more is not let in, since every root,
// or every relay, would have to have the memory. The leader judges that, and not
// the state machine: sizes in memory may differ between versions of a program.
const MaxPatternBytes = 1 << 30

// ErrPatterns reports a set that was not put in force, although it is one.
var ErrPatterns = errors.New("the patterns stay as they were")

// AppliedPatterns is what became of a set.
type AppliedPatterns struct {
	Version uint64 `json:"version"` // in force now; 0: there is none
	Applied bool   `json:"applied"` // false: only tried
	cep.Diff
	RootBytes  int `json:"root_bytes"`  // the most that the patterns of scope root may take
	RelayBytes int `json:"relay_bytes"` // the same of each relay
}

// ApplyPatterns puts an encoded set in force in place of the one before, and
// says what that changes; try only says it. Only the leader does it. A repetition
// is harmless.
func (r *Root) ApplyPatterns(ctx context.Context, set []byte, try bool) (AppliedPatterns, error) {
	var out AppliedPatterns
	if len(set) > maxPatternSet {
		return out, fmt.Errorf("%w: patterns of %d bytes, at most %d go into one entry: shorten their conditions", ErrInput, len(set), maxPatternSet)
	}
	next, err := decodePatterns(set)
	if err != nil {
		return out, fmt.Errorf("%w: patterns: %w", ErrInput, err)
	}
	opts := patternOptions()
	out.RootBytes, out.RelayBytes = next.For(cep.Root).Bytes(&opts), next.For(cep.Relay).Bytes(&opts)
	if most := max(out.RootBytes, out.RelayBytes); most > MaxPatternBytes {
		return out, fmt.Errorf("%w: the patterns may take %d bytes on one node, the limit is %d: lower their max_keys or max_runs", ErrInput, most, MaxPatternBytes)
	}
	err = r.change(ctx, "apply patterns", func(ctx context.Context) error {
		v, err := r.read(ctx, false)
		if err != nil {
			return err
		}
		was := v.patterns.set
		if was == nil {
			was = &cep.Set{}
		}
		out.Diff, out.Version = was.Diff(next), v.patterns.version
		if v.logic < patternLogic {
			return fmt.Errorf("%w: %w", ErrPatterns, errEarlyPatterns)
		}
		if try {
			return nil
		}
		value, _, err := r.node.Propose(ctx, patternsCommand(r.time.Now(), v.patterns.version, set))
		if err != nil {
			return err
		}
		if res, ok := value.(result); !ok || res.fault != "" {
			return fmt.Errorf("%w: %s", ErrPatterns, res.fault)
		}
		out.Applied, out.Version = true, r.fsm.view().patterns.version
		r.log.Info("patterns are in force", "version", out.Version, "added", out.Added, "changed", out.Changed, "removed", out.Removed)
		return nil
	})
	return out, err
}

// Patterns lists the patterns in force. The read is linearizable unless stale
// is set.
func (r *Root) Patterns(ctx context.Context, stale bool) (cep.Listing, error) {
	if _, err := r.read(ctx, stale); err != nil {
		return cep.Listing{}, fmt.Errorf("patterns: %w", err)
	}
	return r.fsm.Patterns(), nil
}

// Patterns lists the patterns in force, as it stands here.
func (f *FSM) Patterns() cep.Listing {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &f.state.patterns
	if p.engine == nil {
		return cep.Listing{Patterns: []cep.Standing{}}
	}
	l := p.engine.Listing(p.set, p.version)
	l.Unsaid = p.unsaid
	return l
}

func (r *Root) servePatterns(w http.ResponseWriter, q *http.Request) {
	l, err := r.Patterns(q.Context(), isStale(q))
	if err != nil {
		r.writeFault(w, err)
		return
	}
	writeJSON(w, http.StatusOK, l)
}

func (r *Root) postPatterns(w http.ResponseWriter, q *http.Request) error {
	set, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxPatternSet))
	if err != nil {
		return fmt.Errorf("%w: patterns of at most %d bytes: %w", ErrInput, maxPatternSet, err)
	}
	try, _ := strconv.ParseBool(q.URL.Query().Get("dry_run"))
	applied, err := r.ApplyPatterns(q.Context(), set, try)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, applied)
	return nil
}

// patternsMessage is what relays are told, and whether there is anything to tell.
func (v *view) patternsMessage() (*wire.Patterns, bool) {
	p := &v.patterns
	return &wire.Patterns{Version: p.version, Set: p.encoded}, p.set != nil
}
