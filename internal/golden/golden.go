// Package golden compares what a test made with a file that pins it, byte for
// byte, on every machine. `go test -rewrite` writes the files anew, for a change
// that is meant.
package golden

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// Rewrite is set by the flag -rewrite of every test that uses this package.
var Rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// Compare fails unless testdata/name holds exactly got. Hint says what a change
// that is meant takes beside -rewrite.
func Compare(t testing.TB, name string, got []byte, hint string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *Rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if it is meant to, %s, and run with -rewrite:\n%s\nwant\n%s", path, hint, legible(got), legible(want))
	}
}

// legible is text as it is, and other bytes in hexadecimal.
func legible(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return fmt.Sprintf("%x", b)
}
