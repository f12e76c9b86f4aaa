package golden

import (
	"os"
	"testing"
)

// spy notes that a comparison failed.
type spy struct {
	testing.TB
	failed bool
}

func (s *spy) Helper()               {}
func (s *spy) Errorf(string, ...any) { s.failed = true }

func TestCompareSeesOneByte(t *testing.T) {
	t.Chdir(t.TempDir())
	*Rewrite = true
	Compare(t, "x.golden", []byte("one"), "raise the version")
	*Rewrite = false
	for got, fails := range map[string]bool{"one": false, "onf": true, "one\n": true, "": true} {
		s := &spy{TB: t}
		if Compare(s, "x.golden", []byte(got), "raise the version"); s.failed != fails {
			t.Errorf("%q against %q: failed is %v", got, "one", s.failed)
		}
	}
	if b, err := os.ReadFile("testdata/x.golden"); err != nil || string(b) != "one" {
		t.Errorf("a comparison wrote %q, %v", b, err)
	}
}
