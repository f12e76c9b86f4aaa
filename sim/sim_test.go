package sim

import (
	"flag"
	"testing"
)

var seeds = flag.Uint64("seeds", 40, "how many seeds to run")

// Every invariant holds for many seeds, and a seed gives the same run twice.
func TestSeeds(t *testing.T) {
	for seed := range *seeds {
		r := Run(seed+1, false, nil)
		if r.Failed() {
			t.Errorf("seed %d: %v\nfaults: %v", r.Seed, r.Broken, r.Faults)
		}
		if seed%16 != 0 {
			continue
		}
		if again := Run(seed+1, false, nil); again.Hash != r.Hash {
			t.Errorf("seed %d: %s, and then %s", r.Seed, r.Hash, again.Hash)
		}
	}
}
