package incident

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pando/internal/golden"
	"pando/internal/pack"
	"pando/stream/anomaly"
)

// swift is a bank: jobs on two LPARs and three services, which lead to one
// gateway, and a batch job that has nothing to do with it.
var swift = []string{
	"plex/LPARA/PAYJOB>payments/swift-gateway",
	"plex/LPARB/PAYJOB>payments/swift-gateway",
	"checkout>ledger>payments/swift-gateway",
	"checkout>fraud-check",
	"fraud-check>payments/swift-gateway",
	"plex/LPARA/REPORT>archive",
}

// cascade is what the gateway's failure leads to, with noise beside it. The
// job on LPAR A is only known to have failed within twelve seconds, and the
// middle of those is before the gateway failed.
func cascade() (related, noise []anomaly.Finding) {
	return []anomaly.Finding{
			finding("payments/swift-gateway", anomaly.Error, 10),
			finding("plex/LPARA/PAYJOB", anomaly.Novelty, 8, known(2, 14), evidence("lpara", 40, 40)),
			finding("plex/LPARA/PAYJOB", anomaly.Silence, 16, known(13, 19), evidence("lpara", 40, 40)),
			finding("plex/LPARB/PAYJOB", anomaly.Silence, 17),
			finding("ledger", anomaly.Error, 11),
			finding("checkout", anomaly.Error, 12),
			finding("fraud-check", anomaly.Load, 13),
		}, []anomaly.Finding{
			finding("plex/LPARA/REPORT", anomaly.Error, 12, evidence("lpara", 41, 45)),
			finding("reports", anomaly.Load, 11, warn),
		}
}

func TestCascadeIsOneIncidentThatBeginsAtTheGateway(t *testing.T) {
	s := newStage(t, DefaultOptions(), swift...)
	related, noise := cascade()
	s.add(noise...)
	s.add(related...)
	var found *Incident
	for _, i := range s.set.incidents {
		if i.First == "payments/swift-gateway" {
			found = i
		}
	}
	if found == nil || len(found.Findings) != len(related) {
		t.Fatalf("no incident of the whole cascade:\n%s", s.describe())
	}
	if len(s.set.incidents) != 2 || len(s.set.Unattached()) != 1 {
		t.Errorf("the noise went elsewhere than expected:\n%s", s.describe())
	}
}

// Every order in which six findings can be committed must end in the same
// division; only names may differ.
func TestOrderOfArrivalDoesNotMatter(t *testing.T) {
	related, noise := cascade()
	cases := map[string][]anomaly.Finding{
		"cascade": {related[0], related[1], related[2], related[4], related[6], noise[0]},
		"two onsets and a caller of both": {
			finding("a", anomaly.Error, 1), finding("b", anomaly.Error, 3),
			finding("c", anomaly.Error, 5), finding("c", anomaly.Latency, 4, warn),
			finding("a", anomaly.Load, 2), finding("d", anomaly.Novelty, 200, warn),
		},
		"warnings that are an incident only together": {
			finding("a", anomaly.Novelty, 1, warn), finding("c", anomaly.Novelty, 2, warn),
			finding("c", anomaly.Novelty, 3, warn), finding("x", anomaly.Novelty, 2, warn),
			finding("b", anomaly.Latency, 2.5, warn), finding("d", anomaly.Silence, 100, warn),
		},
		"circle of overlapping intervals": {
			finding("p", anomaly.Error, 5, known(0, 10)), finding("q", anomaly.Error, 4, known(3, 12)),
			finding("r", anomaly.Error, 6, known(1, 9)), finding("p", anomaly.Load, 5, known(4, 5)),
			finding("q", anomaly.Silence, 11), finding("r", anomaly.Novelty, 0.5, known(0, 2)),
		},
	}
	graph := append([]string{"c>a", "c>b", "d>c", "p>q>r>p"}, swift...)
	for name, fs := range cases {
		t.Run(name, func(t *testing.T) {
			want := ""
			permute(fs, func(order []anomaly.Finding) {
				s := newStage(t, DefaultOptions(), graph...)
				s.add(order...)
				if got := s.describe(); want == "" {
					want = got
				} else if got != want {
					t.Fatalf("order %s gives\n%s\nothers give\n%s", summaries(order), got, want)
				}
			})
		})
	}
}

func permute(fs []anomaly.Finding, visit func([]anomaly.Finding)) {
	var walk func(int)
	walk = func(k int) {
		if k == len(fs) {
			visit(fs)
			return
		}
		for i := k; i < len(fs); i++ {
			fs[k], fs[i] = fs[i], fs[k]
			walk(k + 1)
			fs[k], fs[i] = fs[i], fs[k]
		}
	}
	walk(0)
}

func summaries(fs []anomaly.Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Summary)
	}
	return strings.Join(out, ", ")
}

// Findings that come in one entry end as if they had come one by one.
func TestTogetherIsAsOneByOne(t *testing.T) {
	related, noise := cascade()
	fs := slices.Concat(related, noise, []anomaly.Finding{ended(related[2], 60), related[2]})
	single, batch := newStage(t, DefaultOptions(), swift...), newStage(t, DefaultOptions(), swift...)
	single.add(fs...)
	batch.set.AddAll(fs, batch.graph)
	batch.check()
	if single.describe() != batch.describe() {
		t.Errorf("one by one\n%s\ntogether\n%s", single.describe(), batch.describe())
	}
}

// More findings, revisions, doubles and edges learnt late, in random orders,
// with a restore from a snapshot at a random moment.
func TestRandomOrdersWithRestores(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var fs []anomaly.Finding
		for range 30 {
			f := finding(fmt.Sprintf("svc-%d", rng.IntN(10)), anomaly.Class(rng.IntN(5)), float64(rng.IntN(150)),
				known(-rng.Float64()*5, 0), func(f *anomaly.Finding) {
					f.Onset.Lo, f.Onset.Hi = f.Point-rng.Int64N(5e9), f.Point+rng.Int64N(5e9)
					if rng.IntN(3) == 0 {
						warn(f)
					}
				})
			if rng.IntN(3) == 0 {
				evidence("unit", uint64(rng.IntN(20)), 20+uint64(rng.IntN(20)))(&f)
			}
			fs = append(fs, f)
			if rng.IntN(4) == 0 {
				fs = append(fs, ended(f, 200))
			}
		}
		var chains []string
		for range 14 {
			chains = append(chains, fmt.Sprintf("svc-%d>svc-%d", rng.IntN(10), rng.IntN(10)))
		}
		want := ""
		for try := range 6 {
			s := newStage(t, DefaultOptions())
			order := rng.Perm(len(fs) + len(chains))
			for n, k := range order {
				if k < len(chains) {
					s.calls(chains[k])
				} else {
					s.add(fs[k-len(chains)])
				}
				if n == len(order)/2 && try%2 == 1 {
					s.restore()
				}
			}
			s.add(fs...) // doubles change nothing
			s.tick(210)
			if got := s.describe(); want == "" {
				want = got
			} else if got != want {
				t.Fatalf("seed %d: one order gives\n%s\nanother\n%s", seed, got, want)
			}
		}
	}
}

// restore replaces graph and set by what their snapshots hold.
func (s *stage) restore() {
	s.t.Helper()
	w := pack.NewWriter()
	s.graph.AppendTo(w)
	s.set.AppendTo(w)
	r := pack.NewReader(w.Copy())
	s.graph = ReadGraph(r)
	s.set = ReadSet(r, s.set.opts)
	if err := r.Done(); err != nil {
		s.t.Fatal(err)
	}
}

// A replica that restores at any step must say the same from there on, byte
// for byte.
func TestRestoreAtEveryStepContinuesAlike(t *testing.T) {
	related, noise := cascade()
	fs := slices.Concat(noise, related)
	var steps []func(*stage) []Change
	for i, f := range fs {
		steps = append(steps, func(s *stage) []Change { return s.add(f) })
		if i%3 == 2 {
			steps = append(steps, func(s *stage) []Change { s.calls(swift[:min(i, len(swift))]...); return s.tick(float64(20 + i)) })
		}
	}
	for i, f := range fs {
		steps = append(steps, func(s *stage) []Change { return s.add(ended(f, float64(40+i))) })
	}
	for _, sec := range []float64{50, 100, 400, 800, 3000} {
		steps = append(steps, func(s *stage) []Change { return s.tick(sec) })
	}
	run := func(restoreAt int) string {
		s := newStage(t, DefaultOptions(), swift[:2]...)
		var out strings.Builder
		for n, step := range steps {
			if n == restoreAt {
				s.restore()
			}
			fmt.Fprintf(&out, "step %d\n%s\n", n, describeChanges(step(s)))
		}
		return out.String() + string(bytesOf(s.set))
	}
	want := run(-1)
	for n := range steps {
		if got := run(n); got != want {
			t.Fatalf("restored before step %d, it went on differently", n)
		}
	}
}

func TestBelongingIsNotPassedOn(t *testing.T) {
	// b fails because of a; c, minutes later, because of b. c has a path to
	// a, but a's time is over.
	o := DefaultOptions()
	s := newStage(t, o, "c>b>a")
	s.add(finding("a", anomaly.Novelty, 0), finding("b", anomaly.Error, 100), finding("c", anomaly.Error, 180))
	if len(s.set.incidents) != 2 {
		t.Errorf("want a with b, and c alone:\n%s", s.describe())
	}
	// An error at a callee does not explain an error at its other callee.
	s = newStage(t, o, "front>x", "front>y")
	s.add(finding("x", anomaly.Error, 0), finding("y", anomaly.Error, 1))
	if len(s.set.incidents) != 2 {
		t.Errorf("siblings without a failing caller were joined:\n%s", s.describe())
	}
}

func TestEffectsTravelTheirOwnWay(t *testing.T) {
	for _, c := range []struct {
		name   string
		joined bool
		fs     []anomaly.Finding
	}{
		{"an error goes to the caller", true, []anomaly.Finding{finding("callee", anomaly.Error, 1), finding("caller", anomaly.Error, 2)}},
		{"silence goes to the caller over two calls", true, []anomaly.Finding{finding("callee", anomaly.Error, 1), finding("top", anomaly.Silence, 2)}},
		{"an error does not go to the callee", false, []anomaly.Finding{finding("caller", anomaly.Error, 1), finding("callee", anomaly.Error, 2)}},
		{"load goes to the callee", true, []anomaly.Finding{finding("caller", anomaly.Load, 1), finding("callee", anomaly.Load, 2)}},
		{"load does not go to the caller", false, []anomaly.Finding{finding("callee", anomaly.Error, 1), finding("caller", anomaly.Load, 2)}},
		{"retries load another callee, by way of the failing caller", true,
			[]anomaly.Finding{finding("callee", anomaly.Error, 1), finding("caller", anomaly.Error, 2), finding("other", anomaly.Load, 3)}},
		{"a cause that is known to be later is none", false, []anomaly.Finding{finding("callee", anomaly.Error, 3), finding("caller", anomaly.Error, 2)}},
		{"a cause that may be later by its point, not by its interval", true,
			[]anomaly.Finding{finding("callee", anomaly.Error, 3, known(1, 5)), finding("caller", anomaly.Error, 2)}},
		{"a job inside an LPAR, and the LPAR", true, []anomaly.Finding{finding("plex/A", anomaly.Silence, 1), finding("plex/A/JOB", anomaly.Error, 2)}},
		{"two jobs inside an LPAR", false, []anomaly.Finding{finding("plex/A/JOB1", anomaly.Error, 1), finding("plex/A/JOB2", anomaly.Error, 2)}},
		{"the LPAR whose job calls", true, []anomaly.Finding{finding("callee", anomaly.Error, 1), finding("plex/B", anomaly.Silence, 2)}},
		{"one trace", true, []anomaly.Finding{finding("m", anomaly.Error, 1, trace(7, 1, 0)), finding("n", anomaly.Error, 2, trace(7, 2, 1))}},
		{"one peer that is not observed", true, []anomaly.Finding{finding("m", anomaly.Error, 1, calling("dark")), finding("n", anomaly.Error, 2, calling("dark"))}},
		{"one unit of custody alone", false, []anomaly.Finding{finding("m", anomaly.Error, 1, evidence("u", 1, 9)), finding("n", anomaly.Error, 2, evidence("u", 2, 5))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, DefaultOptions(), "top>caller>callee", "caller>other", "plex/B/JOB>callee")
			s.add(c.fs...)
			if joined := len(s.set.incidents) == 1; joined != c.joined {
				t.Errorf("joined %v, want %v:\n%s", joined, c.joined, s.describe())
			}
		})
	}
}

func TestTimelineKnowsWhatIsProven(t *testing.T) {
	s := newStage(t, DefaultOptions(), "b>a", "c>b", "d>a", "e>a")
	s.add(
		finding("a", anomaly.Error, 10, known(9, 11), evidence("u", 5, 9)),
		finding("b", anomaly.Error, 10.5, known(8, 12)),                       // nothing proven
		finding("c", anomaly.Error, 13),                                       // disjoint
		finding("d", anomaly.Silence, 9.5, known(8, 13), evidence("u", 3, 6)), // its last event came after a's first
		finding("e", anomaly.Error, 9.8, known(8, 12), evidence("v", 1, 1)),
		finding("e", anomaly.Silence, 9.9, known(8, 12), evidence("v", 1, 1), evidence("u", 1, 5)),
	)
	got := describe(s.only())
	want := `incident from a, severity 17, a, d, e, b, c
  concurrent a error 10
  after      d silence 9.5 (direct)
  concurrent e error 9.8
  after      e silence 9.9 (direct)
  concurrent b error 10.5
  after      c error 13 (direct)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The golden trace holds on every architecture.
func TestGoldenTrace(t *testing.T) {
	related, noise := cascade()
	s := newStage(t, DefaultOptions(), swift...)
	var out strings.Builder
	step := func(cmd string, changes []Change) {
		fmt.Fprintf(&out, "%s\n----\n%s\n\n", cmd, describeChanges(changes))
	}
	for _, f := range slices.Concat(related[1:3], noise, related[3:], related[:1]) {
		step("add "+f.Summary, s.add(f))
	}
	step("learn plex/LPARA/REPORT>ledger, tick 20", func() []Change { s.calls("plex/LPARA/REPORT>ledger"); return s.tick(20) }())
	for _, f := range slices.Concat(related, noise) {
		step("end "+f.Summary, s.add(ended(f, 60)))
	}
	step("tick 95", s.tick(95))
	fmt.Fprintf(&out, "show\n----\n%s", s.describe())
	fmt.Fprintf(&out, "\nsha256 of the snapshot\n----\n%x\n", sha256.Sum256(bytesOf(s.set)))
	golden.Compare(t, "cascade.txt", []byte(out.String()), "add a logic of the roots")
}
