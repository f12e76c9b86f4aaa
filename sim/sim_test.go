package sim

import (
	"os"
	"testing"
)

func TestOne(t *testing.T) {
	r := Run(1, false, os.Stdout)
	t.Logf("%+v", r)
}
