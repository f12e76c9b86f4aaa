//go:build !zos

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pando/stream/cep"
)

// FuzzPatternFile: whatever a file holds, it is refused or gives patterns whose
// memory is bounded.
func FuzzPatternFile(f *testing.F) {
	for _, text := range []string{
		"patterns: [{name: p, key: [entity], within: 5m, steps: [{name: a, when: 'signal == \"a\"', times: 2+}]}]",
		"patterns:\n- name: p\n  key: [attr.x]\n  within: 1s\n  steps:\n  - {name: a, when: 'true', fold: [{name: n, op: sum, of: value}]}\n  - {name: b, absent: 'value > a.n', for: 1s}\n  after_match: skip_to_last a\n  limits: {max_runs: 1, overflow: drop_newest}\n",
		"patterns: [{key: [value]}]", "patterns: 1", "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "patterns.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := loadPatterns(path)
		if err != nil {
			return
		}
		for _, p := range set.Patterns() {
			if b := p.Bound(); b.Bytes <= 0 {
				t.Errorf("a bound of %d bytes", b.Bytes)
			}
		}
		if _, err := cep.New(set, cep.DefaultOptions()); err != nil {
			t.Error(err)
		}
	})
}

// TestDocumentedPattern: the example of the documentation is a good file.
func TestDocumentedPattern(t *testing.T) {
	text, err := os.ReadFile("../docs/PATTERNS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```yaml\n")
	block, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatal("docs/PATTERNS.md has no example")
	}
	path := filepath.Join(t.TempDir(), "patterns.yaml")
	if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadPatterns(path); err != nil {
		t.Error(err)
	}
}
