package exact_test

import (
	"fmt"

	"pando/internal/exact"
)

// A float total depends on the order; a Sum does not.
func ExampleSum_Add() {
	total := func(values ...float64) (s exact.Sum, f float64) {
		for _, v := range values {
			a, _ := exact.FromFloat(v)
			s, f = s.Add(a), f+v
		}
		return s, f
	}
	fmt.Println(total(1e17, 1, -1e17))
	fmt.Println(total(1e17, -1e17, 1))
	// Output:
	// 1 0
	// 1 1
}
