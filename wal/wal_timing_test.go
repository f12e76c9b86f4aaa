package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

func openReal(b *testing.B) *Log {
	b.Helper()
	l, _, err := Open(DefaultOptions(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// Each writer waits for the sync of its record before the next one, as a
// caller does that acknowledges every request.
func BenchmarkAppendSynced(b *testing.B) {
	for _, size := range []int{100, 4096} {
		for _, writers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("bytes=%d/writers=%d", size, writers), func(b *testing.B) {
				l := openReal(b)
				rec := make([]byte, size)
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							seq, err := l.Append(rec, false)
							if err == nil {
								err = l.Wait(context.Background(), seq)
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				report(b, b.N, size)
			})
		}
	}
}

// One writer that does not wait for each record, as an input does; the last
// record is synced when the clock stops.
func BenchmarkAppendStreamed(b *testing.B) {
	for _, size := range []int{100, 4096, 64 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			l := openReal(b)
			rec := make([]byte, size)
			n := 0
			for b.Loop() {
				if _, err := l.Append(rec, false); err != nil {
					b.Fatal(err)
				}
				if n++; n%(1<<30/(size+headerSize)) == 0 { // keep the disk's use bounded
					if err := l.TrimBefore(l.Synced()); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := l.Wait(context.Background(), l.Last()); err != nil {
				b.Fatal(err)
			}
			report(b, n, size)
		})
	}
}

func report(b *testing.B, n, size int) {
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(n)/seconds, "appends/s")
	b.ReportMetric(float64(n)*float64(size)/seconds/1e6, "MB/s")
}

func BenchmarkRead(b *testing.B) {
	l := openReal(b)
	const records = 100_000
	for range records {
		if _, err := l.Append(make([]byte, 300), false); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Wait(context.Background(), records); err != nil {
		b.Fatal(err)
	}
	b.Run("random", func(b *testing.B) {
		i := Seq(0)
		for b.Loop() {
			i = (i*6364136223846793005 + 1442695040888963407)
			if _, err := l.Read(i>>33%records + 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("in order", func(b *testing.B) {
		r, n := l.Reader(1), 0
		for b.Loop() {
			_, _, err := r.Next()
			if errors.Is(err, io.EOF) {
				r = l.Reader(1)
			} else if err != nil {
				b.Fatal(err)
			}
			n++
		}
		report(b, n, 300)
	})
}

// Recovery of a log of 1 GiB: 4 KiB records in 16 segments, read, checked and
// secured by Open. The page cache is warm.
func BenchmarkOpen1GiB(b *testing.B) {
	if testing.Short() {
		b.Skip("writes 1 GiB")
	}
	o := DefaultOptions(b.TempDir())
	l, _, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	rec := make([]byte, 4096)
	for l.Size() < 1<<30 {
		for range 1000 {
			if _, err := l.Append(rec, false); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		l, rec, err := Open(o)
		if err != nil || rec.CutBytes != 0 {
			b.Fatal(rec, err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)*(1<<30)/b.Elapsed().Seconds()/1e6, "MB/s")
	_ = os.RemoveAll(o.Dir)
}
