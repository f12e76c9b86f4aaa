package input

import (
	"fmt"
	"os"
	"testing"
)

var dbg = os.Getenv("DBG") != ""

func logf(t *testing.T, f string, a ...any) {
	if dbg {
		fmt.Printf(f+"\n", a...)
	}
}
