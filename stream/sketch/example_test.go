package sketch_test

import (
	"fmt"

	"pando/stream/sketch"
)

// Two relays sketch the latencies that they see; together they know the
// quantiles of all, within 1/128.
func ExampleSketch_Merge() {
	var east, west sketch.Sketch
	for ms := 1; ms <= 900; ms++ {
		east.Add(float64(ms))
	}
	west.AddN(1000, 100)
	east.Merge(&west)
	median, _ := east.Quantile(0.5)
	p95, _ := east.Quantile(0.95)
	fmt.Println(east.Count(), "values from", east.Min(), "to", east.Max())
	fmt.Println("median", median, "p95", p95)
	// Output:
	// 1000 values from 1 to 1000
	// median 502 p95 1000
}
