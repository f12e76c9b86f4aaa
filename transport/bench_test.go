package transport_test

import (
	"fmt"
	"testing"

	"pando/transport"
)

// stream sends b.N messages of size bytes on a lane, over TLS on the loopback,
// to a receiver that grants at once.
func stream(b *testing.B, lane transport.Lane, size int) {
	e := newEdge(b, nil)
	child, parent := e.open(transport.Hello{})
	body := make([]byte, size)
	received := make(chan error, 1)
	go func() {
		var credit transport.Credit
		for range b.N {
			m, err := parent.Receive(b.Context(), lane)
			if err != nil {
				received <- err
				return
			}
			if credit += m.Cost(); credit >= 64<<10 {
				parent.Grant(lane, credit)
				credit = 0
			}
		}
		received <- nil
	}()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := child.Send(b.Context(), lane, transport.Message{Body: body}); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-received; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func BenchmarkBulk(b *testing.B) {
	for _, size := range []int{16 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("message=%dKiB", size>>10), func(b *testing.B) { stream(b, transport.LaneBulk, size) })
	}
}

func BenchmarkCritical(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("message=%dB", size), func(b *testing.B) { stream(b, transport.LaneCritical, size) })
	}
}

// BenchmarkRoundTrip is a critical message up and a control message down, as
// an event and its acknowledgement are.
func BenchmarkRoundTrip(b *testing.B) {
	e := newEdge(b, nil)
	child, parent := e.open(transport.Hello{})
	go func() {
		for {
			m, err := parent.Receive(b.Context(), transport.LaneCritical)
			if err != nil {
				return
			}
			parent.Grant(transport.LaneCritical, m.Cost())
			if parent.SendControl(b.Context(), transport.Message{Body: m.Body[:8]}) != nil {
				return
			}
		}
	}()
	body := make([]byte, 256)
	for b.Loop() {
		if err := child.Send(b.Context(), transport.LaneCritical, transport.Message{Body: body}); err != nil {
			b.Fatal(err)
		}
		if _, err := child.ReceiveControl(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/trip")
}

// BenchmarkDial is a whole handshake: two TLS connections.
func BenchmarkDial(b *testing.B) {
	e := newEdge(b, nil)
	session := uint64(0)
	for b.Loop() {
		session++
		child, err := transport.Dial(b.Context(), e.addr(), transport.Hello{Term: transport.Term{Session: session}}, e.dial)
		if err != nil {
			b.Fatal(err)
		}
		parent, err := e.listener.Accept(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		child.Close("measured")
		parent.Close("measured")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
}
