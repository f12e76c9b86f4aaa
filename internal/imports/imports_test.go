// Package imports holds the architecture's order of packages as data, and the
// tests that compare the code with it. The idea is that of the Go project's
// own go/build/deps_test.go.
//
// Only non-test files are judged: a test may stand on whatever it needs to see
// its subject from outside. All files count, whatever their build tags.
package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is our module's path, as in go.mod.
const module = "pando"

// top is the repository's root, seen from this package's folder.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tree maps each package, by its path below the module, to what it imports.
func tree(t *testing.T) map[string][]string {
	t.Helper()
	root := top(t)
	found := map[string]map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if found[pkg] == nil {
			found[pkg] = map[string]bool{}
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[pkg][imported] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string][]string{}
	for pkg, imports := range found {
		for imported := range imports {
			packages[pkg] = append(packages[pkg], imported)
		}
		slices.Sort(packages[pkg])
	}
	return packages
}

// ours strips the module's name; ok is false for packages of others.
func ours(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// matches tells how exactly a pattern covers a package: 0 if not at all.
func matches(pattern, pkg string) int {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		if strings.HasPrefix(pkg, base+"/") {
			return len(base) + 1
		}
		return 0
	}
	if pattern == pkg {
		return len(pkg) + 2
	}
	return 0
}

func covered(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) > 0 })
}

// floorOf is the index of a package's floor, or −1.
func floorOf(floors []floor, pkg string) int {
	at, best := -1, 0
	for i, f := range floors {
		for _, p := range f.packages {
			if m := matches(p, pkg); m > best {
				at, best = i, m
			}
		}
	}
	return at
}

// neighbours tells whether two packages of one floor may import each other.
func neighbours(f floor, a, b string) bool {
	if strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") {
		return true
	}
	topA, _, _ := strings.Cut(a, "/")
	topB, _, _ := strings.Cut(b, "/")
	return f.together && topA == topB
}

// faults is every way in which the packages break the rules, sorted.
func faults(packages map[string][]string) []string {
	var out []string
	say := func(parts ...string) { out = append(out, strings.Join(parts, "")) }
	order := floors()
	for pkg, imports := range packages {
		own := floorOf(order, pkg)
		if own < 0 {
			say(pkg, ": has no floor; add it to floors in internal/imports")
			continue
		}
		for _, path := range imports {
			if imported, ok := ours(path); ok {
				below := floorOf(order, imported)
				switch {
				case below > own:
					say(pkg, " (", order[own].name, ") imports ", imported, " (", order[below].name, "), which lies above it")
				case below == own && !neighbours(order[own], pkg, imported):
					say(pkg, " imports ", imported, ", which lies beside it (", order[own].name, ")")
				}
			}
			for _, b := range bans() {
				if b.holds(pkg) && b.hits(path) {
					say(pkg, " imports ", path, ": ", b.why)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func (b ban) holds(pkg string) bool {
	return (b.from == nil || covered(b.from, pkg)) && !covered(b.except, pkg)
}

func (b ban) hits(path string) bool {
	if pkg, ok := ours(path); ok {
		return covered(b.what, pkg)
	}
	return slices.ContainsFunc(b.what, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func TestImportsGoOneWay(t *testing.T) {
	packages := tree(t)
	if len(packages) == 0 {
		t.Fatal("no packages found")
	}
	for _, fault := range faults(packages) {
		t.Error(fault)
	}
}

// A rule that lets everything through would pass unnoticed.
func TestRulesFindFaults(t *testing.T) {
	cases := []struct{ pkg, imports, says string }{
		{"somewhere/new", "fmt", "no floor"},
		{"event", module + "/stream", "above"},
		{"wal", module + "/event", "beside"},
		{"event/hlc", module + "/event/clock", "beside"},
		{"relay", module + "/agent", "released apart"},
		{"agent", module + "/root/consensus", "released apart"},
		{"transport", module + "/event/hlc", "carry bytes"},
		{"ebcdic/smf", module + "/event", "above"},
		{"stream/cep", "go.etcd.io/bbolt", "root's alone"},
		{"tree", "github.com/hashicorp/memberlist", "candidates"},
		{"event", "github.com/vmihailenco/msgpack/v5", "internal/pack"},
		{"agent/input", "github.com/goccy/go-yaml/ast", "plain options"},
		{"cli", module, "above"},
	}
	for _, tc := range cases {
		got := strings.Join(faults(map[string][]string{tc.pkg: {tc.imports}}), "\n")
		if !strings.Contains(got, tc.says) {
			t.Errorf("%s importing %s: %q, want %q", tc.pkg, tc.imports, got, tc.says)
		}
	}
	for pkg, imported := range map[string]string{
		"root/consensus": "github.com/hashicorp/raft-boltdb/v2",
		"stream/anomaly": module + "/stream",
		"ebcdic/smf":     module + "/ebcdic",
		"cli":            module + "/agent",
	} {
		if got := faults(map[string][]string{pkg: {imported}}); len(got) > 0 {
			t.Errorf("%s importing %s is refused: %q", pkg, imported, got)
		}
	}
}
