package clock_test

import (
	"fmt"

	"pando/event/clock"
)

// An agent whose clock knows nothing asks its parent the time, and afterwards
// says when something happened, and how sure it is.
func ExampleEstimator() {
	e, err := clock.NewEstimator(clock.EstimatorOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The exchange took 200 µs, of which the parent, sure to 50 µs, used 100.
	e.Add(clock.Sample{T1: 1_000_000, T2: 9_001_050_000, T3: 9_001_150_000, T4: 1_200_000, Bound: 50_000})
	m, _ := e.Mapping(1_200_000)
	fmt.Println(m.Root(1_100_000))
	// Output: [9000999985, 9001200015]
}
