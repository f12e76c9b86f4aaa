package placement

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"
)

func relays(n int) []Relay {
	out := make([]Relay, n)
	for i := range out {
		out[i] = Relay{Node: fmt.Sprintf("eu/relay-%d", i), Region: "eu", Weight: 100}
	}
	return out
}

func agent(i int) string { return fmt.Sprintf("eu/agent-%d", i) }

func names(ranked []Relay) []string {
	out := make([]string, len(ranked))
	for i, r := range ranked {
		out[i] = r.Node
	}
	return out
}

func TestOneRelayGoneMovesOnlyItsOwnKeys(t *testing.T) {
	const n, keys = 10, 20_000
	all := relays(n)
	gone := all[3].Node
	less := slices.DeleteFunc(slices.Clone(all), func(r Relay) bool { return r.Node == gone })
	moved := 0
	for i := range keys {
		before, after := Rank(agent(i), all), Rank(agent(i), less)
		if before[0].Node != gone {
			if before[0] != after[0] {
				t.Fatalf("%s moved from %s to %s, although both were there", agent(i), before[0].Node, after[0].Node)
			}
			continue
		}
		moved++
		if after[0] != before[1] {
			t.Fatalf("%s went to %s, its standby was %s", agent(i), after[0].Node, before[1].Node)
		}
	}
	if share := float64(moved) / keys; math.Abs(share-1.0/n) > 0.01 {
		t.Errorf("%.3f of the keys moved, want about %.3f", share, 1.0/n)
	}
}

func TestWeightsAreShares(t *testing.T) {
	const keys = 60_000
	for _, c := range []struct {
		name    string
		weights []uint32
	}{
		{"one to four", []uint32{1, 2, 3, 4}},
		{"one far above the others", []uint32{1, 4_000_000_000}},
		{"one drains", []uint32{5, 5, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, sum := relays(len(c.weights)), 0.0
			for i, w := range c.weights {
				list[i].Weight = w
				sum += float64(w)
			}
			got := map[string]int{}
			for i := range keys {
				got[Rank(agent(i), list)[0].Node]++
			}
			for _, r := range list {
				want := float64(r.Weight) / sum
				if share := float64(got[r.Node]) / keys; math.Abs(share-want) > 0.01 {
					t.Errorf("weight %d of %.0f got %.4f of the keys, want about %.4f", r.Weight, sum, share, want)
				}
			}
		})
	}
}

// The second choices of one relay's keys must spread over all others, or its
// death would hand all its agents to one neighbour.
func TestStandbysSpread(t *testing.T) {
	const n, keys = 5, 20_000
	seconds, total := map[string]int{}, 0
	for i := range keys {
		if ranked := Rank(agent(i), relays(n)); ranked[0].Node == "eu/relay-0" {
			seconds[ranked[1].Node]++
			total++
		}
	}
	for node, count := range seconds {
		if share := float64(count) / float64(total); math.Abs(share-0.25) > 0.03 {
			t.Errorf("%s is standby of %.3f of the keys, want about 0.25", node, share)
		}
	}
}

func TestRankRegions(t *testing.T) {
	list := relays(4)
	list[1].Region, list[2].Region, list[3].Region = "us", "us", "ap"
	list[2].Full = true
	got := names(RankRegions("eu/agent-1", []string{"us", "eu", "us"}, list))
	want := []string{"eu/relay-1", "eu/relay-2", "eu/relay-0"} // the full one behind, ap not at all
	if !slices.Equal(got, want) {
		t.Errorf("ranking %v, want %v", got, want)
	}
}

func TestLogarithmIsAccurate(t *testing.T) {
	for _, h := range []uint64{0, 1, 2, 3, 1 << 31, 1<<32 + 1, 0x9e3779b97f4a7c15, math.MaxUint64 - 1, math.MaxUint64} {
		want := 64 - math.Log2(math.Max(1, float64(h)))
		got := float64(negLog2(h)) / (1 << fractionBits)
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("-log2(%d/2^64) = %.12f, want %.12f", h, got, want)
		}
		if negLog2(h) == 0 {
			t.Errorf("cost of %d is 0: weights would not matter", h)
		}
	}
}

// These values were computed once; every architecture must agree with them.
func TestRankingIsTheSameEverywhere(t *testing.T) {
	list := relays(7)
	for i := range list {
		list[i].Weight = uint32(50 + 25*i)
	}
	if got := fmt.Sprint(names(Rank("eu/agent-7", list))); got != goldenOne {
		t.Errorf("ranking of one key\n got %s\nwant %s", got, goldenOne)
	}
	sum := sha256.New()
	for i := range 1000 {
		fmt.Fprintln(sum, names(Rank(agent(i), list)))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != goldenAll {
		t.Errorf("hash of 1000 rankings is %s, want %s", got, goldenAll)
	}
}

const (
	goldenOne = "[eu/relay-4 eu/relay-3 eu/relay-0 eu/relay-6 eu/relay-5 eu/relay-2 eu/relay-1]"
	goldenAll = "b78deb683d5626ad4099bad34bc5b78cffa04d2bf440ec055badda73c12b8c4d"
)

func BenchmarkRank(b *testing.B) {
	for _, n := range []int{3, 30} {
		b.Run(fmt.Sprintf("relays=%d", n), func(b *testing.B) {
			list := relays(n)
			for b.Loop() {
				Rank("eu/agent-1", list)
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "relays/s")
		})
	}
}
