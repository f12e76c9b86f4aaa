package hlc_test

import (
	"fmt"

	"pando/event/hlc"
)

// A receiver whose wall clock is behind still stamps after the sender.
func ExampleClock_Update() {
	at := func(ms int64) func() int64 { return func() int64 { return ms } }
	sender, err := hlc.New(hlc.Options{Physical: at(5000)})
	if err != nil {
		fmt.Println(err)
		return
	}
	receiver, err := hlc.New(hlc.Options{Physical: at(4000)})
	if err != nil {
		fmt.Println(err)
		return
	}
	sent, _ := sender.Now()
	received, _ := receiver.Update(sent)
	fmt.Println(sent, received)
	// Output: 5000.0 5000.1
}
