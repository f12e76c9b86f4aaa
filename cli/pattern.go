//go:build !zos

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"pando/stream/cep"
	"pando/stream/cep/pattern"
)

func newPattern(e *env) *cobra.Command {
	return newGroup("pattern", "Check files of patterns, try them on events, put them in force",
		newPatternApply(e), newPatternCheck(e), newPatternList(e), newPatternTry(e))
}

// loadPatterns reads and compiles a file of patterns, in which there is one.
func loadPatterns(path string) (*cep.Set, error) {
	set, err := readPatterns(path)
	if err == nil {
		err = wantPatterns(path, set)
	}
	return set, err
}

func readPatterns(path string) (*cep.Set, error) {
	var f pattern.File
	if err := loadYAML(path, &f); err != nil {
		return nil, err
	}
	set, err := pattern.Compile(&f)
	if err != nil {
		return nil, &configError{path: path, reason: err.Error(), hint: "docs/PATTERNS.md describes the language"}
	}
	return set, nil
}

func wantPatterns(path string, set *cep.Set) error {
	if len(set.Patterns()) == 0 {
		return &configError{path: path, reason: "there is no pattern in it", hint: "patterns stand in a list under the key \"patterns\""}
	}
	return nil
}

func newPatternCheck(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a file of patterns, and say how much memory they may take",
		Long: `Check a file of patterns as a relay or a root would read it, and print the most
memory that each may take:

    bytes = keys × (key + runs × run) + scratch

where keys and runs are its limits, key and run the bytes of one, at the longest
texts and the most evidence that the limits allow, and scratch what the key that
is being worked on takes beside. Events that wait for the watermark, and a table of
recent series, are shared by all. It is a bound of what is kept; Go's collector
needs as much again at most.`,
		Example: `  pando pattern check patterns.yaml
  pando pattern check patterns.yaml -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := loadPatterns(args[0])
			if err != nil {
				return err
			}
			view, t := checkedPatterns(args[0], set)
			return e.render(view, t)
		},
	}
}

// patternBound is what the command prints of one pattern.
type patternBound struct {
	Name    string `json:"name"`
	Scope   string `json:"scope"`
	Hash    string `json:"hash"` // a reload keeps the runs of patterns whose hash stays
	Keys    int    `json:"keys"`
	Runs    int    `json:"runs"`
	Key     int    `json:"key_bytes"`
	Run     int    `json:"run_bytes"`
	Scratch int    `json:"scratch_bytes"`
	Bytes   int    `json:"bytes"`
}

type patternCheck struct {
	File     string         `json:"file"`
	Patterns []patternBound `json:"patterns"`
	Shared   int            `json:"shared_bytes"` // events that wait for the watermark, recent series
	Bytes    int            `json:"bytes"`        // all together
}

func checkedPatterns(path string, set *cep.Set) (patternCheck, table) {
	opts := cep.DefaultOptions()
	view := patternCheck{File: path, Shared: set.Shared(&opts)}
	view.Bytes = view.Shared
	t := table{columns: []string{"pattern", "scope", "keys × (key + runs × run) + scratch", "bytes"}}
	for i, p := range set.Patterns() {
		b := p.Bound()
		view.Patterns = append(view.Patterns, patternBound{
			Name: p.Name, Scope: p.Scope.String(), Hash: set.Hash(i).String(),
			Keys: b.Keys, Runs: b.Runs, Key: b.Key, Run: b.Run, Scratch: b.Scratch, Bytes: b.Bytes,
		})
		view.Bytes += b.Bytes
		t.add(p.Name, p.Scope, fmt.Sprintf("%d × (%d + %d × %d) + %d", b.Keys, b.Key, b.Runs, b.Run, b.Scratch), b.Bytes)
	}
	t.add("shared by all", "", "", view.Shared)
	t.add("all", "", "", view.Bytes)
	return view, t
}
