//go:build !zos

package cli

import (
	"errors"
	"testing"

	"pando/root"
)

// What is unaccounted for is looked at again, and is a fault if it stays.
func TestLedgerIsDegradedByWhatIsUnaccounted(t *testing.T) {
	for name, c := range map[string]struct {
		seen  []int64 // unaccounted, at each look; the last one stays
		looks int
		fault bool
	}{
		"nothing":    {[]int64{0}, 1, false},
		"for a time": {[]int64{3, 0}, 2, false},
		"missing":    {[]int64{3}, ledgerLooks, true},
		"too many":   {[]int64{-3}, ledgerLooks, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			looks := 0
			v, err := settledView(t.Context(), func() (v ledgerView, err error) {
				v.add(root.Account{Unknown: 7}) // is no fault
				v.add(root.Account{Unaccounted: c.seen[min(looks, len(c.seen)-1)]})
				looks++
				return v, nil
			})
			if err != nil || looks != c.looks || errors.Is(v.fault(), errDegraded) != c.fault {
				t.Errorf("%d looks, %v, %v", looks, err, v.fault())
			}
			if want := c.seen[len(c.seen)-1]; v.Total.Unaccounted != want || v.Total.Unknown != 7 {
				t.Errorf("total %+v", v.Total)
			}
		})
	}
}
