package drain

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pando/internal/golden"
	"pando/internal/pack"
)

func newMiner(t testing.TB, cfg Config) *Miner {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// add takes a line in and returns its template.
func add(m *Miner, line string) *Template {
	t, _ := m.Add(line)
	return t
}

func snapshotOf(m *Miner) []byte {
	w := pack.NewWriter()
	m.Snapshot(w)
	return w.Copy()
}

// corpus is testdata/corpus.log: lines of a gateway, sshd, a broker, the
// kernel, cron, ftpd, a proxy and a service, each behind the name of the
// statement that wrote it.
func corpus(t testing.TB) (statements, lines []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/corpus.log")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		statement, line, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		statements, lines = append(statements, statement), append(lines, line)
	}
	return statements, lines
}

// TestGroupingAccuracy counts the lines whose template holds all the lines of
// their statement and no others: the grouping accuracy of Zhu et al., Tools and
// Benchmarks for Automated Log Parsing, ICSE-SEIP 2019.
func TestGroupingAccuracy(t *testing.T) {
	statements, lines := corpus(t)
	m := newMiner(t, DefaultConfig())
	byStatement, byTemplate := map[string]map[string]int{}, map[string]map[string]int{}
	count := func(in map[string]map[string]int, a, b string) {
		if in[a] == nil {
			in[a] = map[string]int{}
		}
		in[a][b]++
	}
	ids := make([]string, len(lines))
	for i, line := range lines {
		ids[i] = add(m, line).ID()
		count(byStatement, statements[i], ids[i])
		count(byTemplate, ids[i], statements[i])
	}
	right := 0
	for i := range lines {
		if len(byStatement[statements[i]]) == 1 && len(byTemplate[ids[i]]) == 1 {
			right++
		} else if testing.Verbose() {
			t.Logf("%s: %s: %s", statements[i], ids[i], lines[i])
		}
	}
	accuracy := float64(right) / float64(len(lines))
	t.Logf("%d lines of %d statements in %d templates, grouping accuracy %.3f", len(lines), len(byStatement), m.Len(), accuracy)
	if accuracy < 0.95 {
		t.Errorf("grouping accuracy %.3f, want at least 0.95", accuracy)
	}
}

// TestGoldenTemplates pins the templates of the corpus and the state behind
// them, byte for byte, on every machine.
func TestGoldenTemplates(t *testing.T) {
	_, lines := corpus(t)
	m := newMiner(t, DefaultConfig())
	for _, line := range lines {
		m.Add(line)
	}
	var out strings.Builder
	for _, x := range m.templates {
		fmt.Fprintf(&out, "%s %s\n", x.ID(), x.Text())
	}
	fmt.Fprintf(&out, "state %x\n", sha256.Sum256(snapshotOf(m)))
	golden.Compare(t, "corpus.golden", []byte(out.String()), "say in the release notes that templates get other ids")
}

func TestRestoredMinerGoesOnAlike(t *testing.T) {
	_, lines := corpus(t)
	straight, broken := newMiner(t, DefaultConfig()), newMiner(t, DefaultConfig())
	for i, line := range lines {
		want, got := add(straight, line), add(broken, line)
		if want.ID() != got.ID() || want.Text() != got.Text() {
			t.Fatalf("line %d: %s %s, restored miner %s %s", i, want.ID(), want.Text(), got.ID(), got.Text())
		}
		next := newMiner(t, DefaultConfig())
		r := pack.NewReader(snapshotOf(broken))
		if err := errors.Join(next.Restore(r), r.Done()); err != nil {
			t.Fatal(err)
		}
		broken = next
	}
	if !bytes.Equal(snapshotOf(straight), snapshotOf(broken)) {
		t.Error("states differ in the end")
	}
}

// A template that has lost words to wildcards keeps its id, and the line that
// began it still belongs to it.
func TestIDOutlivesTheText(t *testing.T) {
	m := newMiner(t, Config{Similarity: 50, MaxTemplates: 10})
	first := add(m, "state changed alpha beta gamma delta")
	id := first.ID()
	for _, line := range []string{"state changed alpha x gamma y", "state changed z beta gamma y", "state changed alpha beta gamma delta"} {
		if got := add(m, line); got != first || got.ID() != id {
			t.Errorf("%q is of %s, want %s", line, got.ID(), id)
		}
	}
	if want := "state changed <*> <*> gamma <*>"; first.Text() != want {
		t.Errorf("text %q, want %q", first.Text(), want)
	}
	if add(m, "state changed by a b c") == first || m.Len() != 2 {
		t.Error("a line that shares less than half of its words was taken in")
	}
}

// Of two templates that share as many words with a line, the one that has more
// wildcards takes it: it has lost words before.
func TestTieGoesToMoreWildcards(t *testing.T) {
	m := newMiner(t, Config{Similarity: 60, MaxTemplates: 10})
	add(m, "p q a b c")
	open := add(m, "p q d e f")
	add(m, "p q d e g")
	if got := add(m, "p q a e h"); got != open || m.Len() != 2 {
		t.Errorf("the line is of %q, and there are %d templates", got.Text(), m.Len())
	}
}

func TestBounds(t *testing.T) {
	m := newMiner(t, Config{Similarity: 100, MaxTemplates: 300})
	word := func(n int) string {
		return strings.Repeat("x", 1+n/26) + string(rune('g'+n%20)) + string(rune('a'+n%26))
	}
	known := add(m, word(0)+" b c")
	for n := range 2000 {
		m.Add(word(n) + " b c")
	}
	if m.Len() != 300 || m.Other() != 1700 {
		t.Errorf("%d templates and %d lines without, want 300 and 1700", m.Len(), m.Other())
	}
	if n := len(m.lengths[3].children); n != maxChildren {
		t.Errorf("%d children of one node, want %d", n, maxChildren)
	}
	if add(m, word(0)+" b c") != known {
		t.Error("a full miner does not know its templates any more")
	}
	long := add(newMiner(t, DefaultConfig()), strings.Repeat("word ", 1<<16))
	if n := len(long.words); n != maxWords {
		t.Errorf("%d words of a long line, want %d", n, maxWords)
	}
	if long := add(newMiner(t, DefaultConfig()), strings.Repeat("é", 1<<16)); len(long.Text()) > maxText || strings.ContainsRune(long.Text(), '\uFFFD') {
		t.Errorf("%d bytes of a long word", len(long.Text()))
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	err := Config{Similarity: 0, MaxTemplates: MaxTemplates + 1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "similarity:") || !strings.Contains(err.Error(), "max_templates:") {
		t.Errorf("error %v", err)
	}
}

// FuzzMiner adds lines and restores the miner in between: it must go on as if
// nothing had happened, within its bounds.
func FuzzMiner(f *testing.F) {
	_, lines := corpus(f)
	f.Add(strings.Join(lines[:20], "\n"))
	f.Add("<*> <num>\n\n \x00\xff é\n" + strings.Repeat("a ", 700))
	f.Fuzz(func(t *testing.T, text string) {
		cfg := Config{Similarity: 40, MaxTemplates: 8}
		straight, broken := newMiner(t, cfg), newMiner(t, cfg)
		for line := range strings.Lines(text) {
			a, b := add(straight, line), add(broken, line)
			if (a == nil) != (b == nil) || a != nil && (a.ID() != b.ID() || a.Text() != b.Text()) {
				t.Fatalf("%q: %+v, restored miner %+v", line, a, b)
			}
			if straight.Len() > cfg.MaxTemplates {
				t.Fatalf("%d templates", straight.Len())
			}
			next := newMiner(t, cfg)
			r := pack.NewReader(snapshotOf(broken))
			if err := errors.Join(next.Restore(r), r.Done()); err != nil {
				t.Fatalf("after %q: %v", line, err)
			}
			broken = next
		}
	})
}

// FuzzRestore reads any bytes as a snapshot: it is refused as malformed, or
// written again as the same bytes.
func FuzzRestore(f *testing.F) {
	_, lines := corpus(f)
	m := newMiner(f, DefaultConfig())
	for _, line := range lines {
		m.Add(line)
	}
	f.Add(snapshotOf(m))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMiner(t, Config{Similarity: 40, MaxTemplates: MaxTemplates})
		r := pack.NewReader(b)
		if err := m.Restore(r); err != nil {
			if !errors.Is(err, pack.ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if n := len(b) - r.Left(); !bytes.Equal(snapshotOf(m), b[:n]) {
			t.Error("another snapshot than the one read")
		}
		m.Add("a line of four words")
	})
}

func BenchmarkAdd(b *testing.B) {
	_, lines := corpus(b)
	m := newMiner(b, DefaultConfig())
	size := 0
	for _, line := range lines {
		m.Add(line)
		size += len(line)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, line := range lines {
			m.Add(line)
		}
	}
	n := float64(b.N) * float64(len(lines))
	b.ReportMetric(n/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/line")
	b.ReportMetric(float64(size)/float64(len(lines)), "B/line")
}
