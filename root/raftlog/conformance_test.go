//go:build !zos

package raftlog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// closable is what both stores are.
type closable interface {
	raft.LogStore
	io.Closer
}

// kinds opens each kind of store in a folder; opening again finds what is
// there.
var kinds = map[string]func(t testing.TB, dir string) closable{
	"wal": func(t testing.TB, dir string) closable {
		s, _, err := Open(Options{Dir: filepath.Join(dir, "log"), SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"bolt": func(t testing.TB, dir string) closable {
		s, err := OpenBolt(filepath.Join(dir, "raft.db"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
}

// entry is a log entry whose content follows from index and term.
func entry(index, term uint64) *raft.Log {
	return &raft.Log{
		Index: index, Term: term, Type: raft.LogCommand,
		Data: fmt.Appendf(nil, "entry %d of term %d", index, term), Extensions: []byte{byte(term)},
		AppendedAt: time.Unix(0, int64(1e18+index)),
	}
}

func entries(from, to, term uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, entry(i, term))
	}
	return out
}

// holds checks that the store has exactly the entries from first to last,
// each of the term that termOf says.
func holds(t *testing.T, s raft.LogStore, first, last uint64, termOf func(uint64) uint64) {
	t.Helper()
	if got, err := s.FirstIndex(); err != nil || got != first {
		t.Fatalf("first index %d (%v), want %d", got, err, first)
	}
	if got, err := s.LastIndex(); err != nil || got != last {
		t.Fatalf("last index %d (%v), want %d", got, err, last)
	}
	var l raft.Log
	for _, outside := range []uint64{0, first - 1, last + 1} {
		if outside >= first && outside <= last && last != 0 {
			continue
		}
		if err := s.GetLog(outside, &l); err != raft.ErrLogNotFound {
			t.Fatalf("entry %d: %v, want ErrLogNotFound itself", outside, err)
		}
	}
	for i := first; i <= last && last != 0; i++ {
		if err := s.GetLog(i, &l); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		want := entry(i, termOf(i))
		if l.Index != i || l.Term != want.Term || l.Type != want.Type || string(l.Data) != string(want.Data) ||
			string(l.Extensions) != string(want.Extensions) || !l.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("entry %d reads %+v, want %+v", i, l, *want)
		}
	}
}

func term(n uint64) func(uint64) uint64 { return func(uint64) uint64 { return n } }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Both stores must behave as Raft expects, also after a restart at each step.
func TestConformance(t *testing.T) {
	for name, open := range kinds {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restarts=%v", name, restarts), func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir)
				defer func() { must(t, s.Close()) }()
				step := func() {
					if restarts {
						must(t, s.Close())
						s = open(t, dir)
					}
				}
				holds(t, s, 0, 0, nil)
				must(t, s.StoreLog(entry(1, 1)))
				must(t, s.StoreLogs(entries(2, 100, 1)))
				step()
				holds(t, s, 1, 100, term(1))
				// A conflict: the suffix goes and comes anew.
				must(t, s.DeleteRange(60, 100))
				step()
				holds(t, s, 1, 59, term(1))
				must(t, s.StoreLogs(entries(60, 80, 2)))
				step()
				old := func(i uint64) uint64 {
					if i < 60 {
						return 1
					}
					return 2
				}
				holds(t, s, 1, 80, old)
				// Compaction.
				must(t, s.DeleteRange(1, 30))
				step()
				holds(t, s, 31, 80, old)
				must(t, s.StoreLogs(entries(81, 90, 2)))
				must(t, s.DeleteRange(31, 75))
				step()
				holds(t, s, 76, 90, old)
				// A snapshot was installed: all goes, and what comes next
				// follows the snapshot.
				must(t, s.DeleteRange(76, 90))
				step()
				holds(t, s, 0, 0, nil)
				must(t, s.StoreLogs(entries(500, 510, 3)))
				step()
				holds(t, s, 500, 510, term(3))
				// Entries larger than a page and than a small segment's rest.
				big := entry(511, 3)
				big.Data = make([]byte, 40_000)
				must(t, s.StoreLogs([]*raft.Log{big}))
				step()
				var l raft.Log
				must(t, s.GetLog(511, &l))
				if len(l.Data) != len(big.Data) {
					t.Errorf("a large entry came back with %d bytes", len(l.Data))
				}
			})
		}
	}
}

// Followers read while the leader appends, and while the log is compacted.
func TestReadsDuringWrites(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			defer func() { must(t, s.Close()) }()
			must(t, s.StoreLogs(entries(1, 10, 1)))
			var done atomic.Bool
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for i := uint64(1); !done.Load(); {
						last, err := s.LastIndex()
						if err != nil {
							t.Error(err)
							return
						}
						var l raft.Log
						switch err := s.GetLog(i, &l); {
						case errors.Is(err, raft.ErrLogNotFound): // compacted
						case err != nil || l.Index != i || string(l.Data) != string(entry(i, 1).Data):
							t.Errorf("entry %d: %v %+v", i, err, l)
							return
						}
						if i++; i > last {
							i = max(1, last-min(last, 20))
						}
					}
				})
			}
			for i := uint64(11); i < 400; i += 10 {
				must(t, s.StoreLogs(entries(i, i+9, 1)))
				if i%100 == 1 {
					must(t, s.DeleteRange(1, i-50))
				}
			}
			done.Store(true)
			wg.Wait()
		})
	}
}

func BenchmarkStoreLogs(b *testing.B) {
	for _, name := range []string{"wal", "bolt"} {
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, n), func(b *testing.B) {
				s := kinds[name](b, b.TempDir())
				defer func() { _ = s.Close() }()
				next := uint64(1)
				for b.Loop() {
					var batch []*raft.Log
					for range n {
						l := entry(next, 1)
						l.Data = make([]byte, 1024)
						batch = append(batch, l)
						next++
					}
					must(b, s.StoreLogs(batch))
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	}
}
