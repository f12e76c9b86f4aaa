package pattern_test

import (
	"fmt"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/stream/cep"
	"pando/stream/cep/pattern"
)

// Errors of a gateway, and then none of its calls succeeds for ten seconds.
func Example() {
	set, err := pattern.Compile(&pattern.File{Patterns: []pattern.Pattern{{
		Name: "gateway-down", Key: []string{"entity"}, Within: time.Minute,
		Steps: []pattern.Step{
			{Name: "failing", When: `signal startsWith "http.5"`, Times: pattern.Times{Min: 2, Max: 2}},
			{Name: "healthy", Absent: `signal == "http.200"`, For: 10 * time.Second},
		},
		Finding: pattern.Finding{Summary: "no call succeeds"},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	engine, err := cep.New(set.For(cep.Relay), cep.DefaultOptions())
	if err != nil {
		fmt.Println(err)
		return
	}
	unit := event.Unit{Origin: "eu/host1", WAL: 1, Lane: event.Bulk}
	for i, signal := range []string{"http.200", "http.503", "http.502"} {
		at := int64(i) * int64(time.Second)
		ev := event.Event{Seq: uint64(i + 1), Kind: event.Span, Entity: "payments/gw", Signal: signal}
		view := cep.FromEvent(unit, &ev, clock.Interval{Lo: at, Hi: at}, at)
		engine.Observe(&view)
	}
	for _, m := range engine.Advance(int64(20 * time.Second)) {
		f := m.Finding(int64(20 * time.Second))
		fmt.Println(f.Series, time.Duration(f.Decided), f.Summary)
	}
	// Output: payments/gw http.502 12s no call succeeds, entity payments/gw
}
