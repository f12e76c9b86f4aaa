package event_test

import (
	"fmt"

	"pando/event"
	"pando/event/clock"
)

// One event from the agent that appended it to whoever proves it.
func Example() {
	unit := event.Unit{Origin: "eu/lpar-a", WAL: 0xfeed, Lane: event.Critical}
	var b event.Builder
	b.Add(event.Event{
		Stamp:  event.Stamp{Lo: 1_000, Hi: 3_000, Point: 2_000},
		Entity: "sysplex1/LPARA/CICSPAY1", Signal: "abend.S0C7", Value: 1, Severity: event.SeverityError,
	})
	bytes, err := b.Build(unit, 1, clock.Boot{}, nil).Encode(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	chain := event.Chain(event.Hash{}, bytes)

	batch, err := event.Decode(bytes)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := &batch.Events[0]
	interval, point := e.Time(clock.Mapping{Offset: 1_000_000, Bound: 500, At: 3_000})
	fmt.Println(batch.Unit, e.Seq, e.Entity, e.Signal)
	fmt.Println(interval, point)
	fmt.Println(chain == event.Chain(event.Hash{}, bytes))
	// Output:
	// eu/lpar-a@000000000000feed/critical 1 sysplex1/LPARA/CICSPAY1 abend.S0C7
	// [1000500, 1003500] 1002000
	// true
}
