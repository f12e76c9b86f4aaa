package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Standard   bool
	ImportMap  map[string]string
	Error      *struct{ Err string }
}

// goList runs go list for another platform, without cgo.
func goList(t *testing.T, goos string, args ...string) map[string]*listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-deps",
		"-json=ImportPath,Dir,GoFiles,Standard,ImportMap,Error"}, args...)...)
	cmd.Dir = top(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=s390x", "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := map[string]*listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(listed)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// zosPaths are zosPackages as go list takes them. It tells nothing of a folder
// without Go files (-e), so a package that is gone is looked for here.
func zosPaths(t *testing.T) []string {
	t.Helper()
	var paths []string
	packages := tree(t)
	for _, p := range zosPackages() {
		if _, ok := packages[p]; !ok {
			t.Fatalf("there is no package %s: mend the list of what runs on z/OS", p)
		}
		paths = append(paths, "./"+p)
	}
	return paths
}

func TestAgentOnZOSIsFreeOfWhatDoesNotCompileThere(t *testing.T) {
	for path := range goList(t, "zos", zosPaths(t)...) {
		for _, banned := range notOnZOS() {
			if strings.HasPrefix(path, banned) {
				t.Errorf("the agent's closure on z/OS holds %s", path)
			}
		}
	}
}

// The stock Go tool refuses to build for z/OS, but its type checker does not
// care: it takes the files that z/OS would select, over the standard library
// of Linux on the same processor, which stands in for IBM's. So this finds
// missing files, types and functions; it does not prove that the agent runs.
// Of others' packages only declarations are looked at: some call functions that
// only IBM's Go has.
func TestAgentTypeChecksForZOS(t *testing.T) {
	if testing.Short() {
		t.Skip("type-checks the standard library from source")
	}
	c := &checker{
		fset:     token.NewFileSet(),
		standard: goList(t, "linux", "std"),
		packages: goList(t, "zos", zosPaths(t)...),
		done:     map[string]*types.Package{"unsafe": types.Unsafe},
	}
	for path, p := range c.packages {
		if _, own := ours(path); !own {
			continue
		}
		if p.Error != nil {
			t.Errorf("%s: %s", path, p.Error.Err)
			continue
		}
		if _, err := c.check(p); err != nil {
			t.Error(err)
		}
	}
}

// checker type-checks packages from source, each once.
type checker struct {
	fset     *token.FileSet
	standard map[string]*listed // for Linux
	packages map[string]*listed // for z/OS
	done     map[string]*types.Package
}

func (c *checker) check(p *listed) (*types.Package, error) {
	if pkg, ok := c.done[p.ImportPath]; ok {
		return pkg, nil
	}
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(c.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	_, own := ours(p.ImportPath)
	var faults []error
	config := types.Config{
		Importer:         importerOf{c, p},
		IgnoreFuncBodies: !own,
		Sizes:            types.SizesFor("gc", "s390x"),
		Error:            func(err error) { faults = append(faults, err) },
	}
	pkg, err := config.Check(p.ImportPath, c.fset, files, nil)
	c.done[p.ImportPath] = pkg // also if faulty, so that each fault is told once
	if !own || err == nil {
		return pkg, nil
	}
	return pkg, errors.Join(faults...)
}

// importerOf resolves the imports of one package.
type importerOf struct {
	c    *checker
	from *listed
}

func (i importerOf) Import(path string) (*types.Package, error) {
	if mapped, ok := i.from.ImportMap[path]; ok {
		path = mapped
	}
	if pkg, ok := i.c.done[path]; ok {
		return pkg, nil
	}
	p := i.c.standard[path]
	if p == nil || !p.Standard {
		p = i.c.packages[path]
	}
	if p == nil {
		return nil, fmt.Errorf("package %s is not in the closure", path)
	}
	pkg, err := i.c.check(p)
	if pkg == nil {
		return nil, err
	}
	return pkg, nil
}
