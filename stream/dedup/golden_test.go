package dedup

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pando/internal/golden"
	"pando/stream/anomaly"
)

// TestGoldenHistory pins what is said of a long random history, and the state
// behind it, byte for byte, on every machine.
func TestGoldenHistory(t *testing.T) {
	var out strings.Builder
	for seed := range uint64(4) {
		s := newStage(t, smallConfig())
		r := rand.New(rand.NewPCG(seed, 0))
		ops := make([]byte, 240)
		for i := range ops {
			ops[i] = byte(r.UintN(256))
		}
		history(s, ops, true)
		fmt.Fprintf(&out, "seed %d: %+v, state %x\n", seed, s.f.Counts(), sha256.Sum256(snapshotOf(s.f)))
		for i := range s.said {
			fmt.Fprintf(&out, "%s %s %v: %s\n", short(&s.said[i]), s.said[i].Series.Entity,
				time.Duration(s.said[i].Point-dawn), s.said[i].Summary)
		}
	}
	golden.Compare(t, "history.golden", []byte(out.String()), "raise the relay's logicVersion")
}

// BenchmarkPass is a storm: each alarm comes by a thousand paths.
func BenchmarkPass(b *testing.B) {
	s := newStage(b, DefaultConfig())
	x, e := by(finding(0, "app", "DFHAC2236", 0, 0), "eu/a", "syslog")
	x.Detector, x.Class = anomaly.DetectorFirstSeen, anomaly.Novelty
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 {
			x.Series.Entity = fmt.Sprint("app", n/1000)
		}
		binary.LittleEndian.PutUint64(x.ID[8:], uint64(n))
		x.Revision, x.Ended = 1, false
		s.f.pass(nil, &x, e)
		x.Revision, x.Ended = 2, true
		s.f.pass(nil, &x, e)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "findings/s")
}
