package input

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pando/event"
)

// nowhere takes everything at no cost.
type nowhere struct{}

func (nowhere) Put(context.Context, []Item) error { return nil }

// BenchmarkTail reads a file from its beginning to its end, from the page
// cache.
func BenchmarkTail(b *testing.B) {
	const lines = 20_000
	text := func(n int) string {
		return fmt.Sprintf("n=%d 2026-11-23T04:40:00Z checkout upstream ledger answered 200 after 12 ms, trace 0af7651916cd43dd8448eb211c80319c", n)
	}
	for _, c := range []struct {
		name string
		spec Spec
		line func(n int) []byte
	}{
		{"format=text", Spec{}, func(n int) []byte { return append([]byte(text(n)), '\n') }},
		{"format=text,expression", Spec{Pattern: `^n=(?P<n>\d+) (?P<t>\S+) (?P<app>\w+)`, Entity: "shop/{app}", Value: "{n}"},
			func(n int) []byte { return append([]byte(text(n)), '\n') }},
		{"format=text,template", Spec{Template: &TemplateSpec{}}, func(n int) []byte {
			return fmt.Appendf(nil, "2026-11-23 04:40:00.%03d INFO [out-%d] MessageSender - sent MT103 ref %x to ledger in %d ms, session of alice\n", n%1000, n%16, n*7919, n%900)
		}},
		{"format=ebcdic", Spec{CodePage: "cp1047", NewLine: NewLineNEL}, func(n int) []byte { return append(encode(b, text(n)), 0x15) }},
		{"format=json", Spec{Format: FormatJSON, Entity: "shop/{app}", Signal: "http.{status}", Value: "{n}"}, func(n int) []byte {
			return fmt.Appendf(nil, "{\"n\":%d,\"app\":\"checkout\",\"status\":200,\"msg\":%q}\n", n, text(n))
		}},
		{"format=json,metric", Spec{Format: FormatJSON, Entity: "{entity}", Signal: "{signal}", Value: "{value|1}", Severity: "{level|info}"}, func(n int) []byte {
			return fmt.Appendf(nil, "{\"entity\":\"payments/service-%04d\",\"signal\":\"http.server.request.duration.%02d\",\"value\":%g}\n", n%200, n%20, math.Exp(float64(n%997)/500))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "log")
			var content []byte
			for n := range lines {
				content = append(content, c.line(n)...)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				b.Fatal(err)
			}
			c.spec.Name, c.spec.Type, c.spec.Path = "b", TypeTail, path
			b.ReportAllocs()
			for b.Loop() {
				src, err := New(Options{Spec: c.spec, Sink: nowhere{}, Clock: func() int64 { return 1 }})
				if err != nil {
					b.Fatal(err)
				}
				t := src.(*tail)
				for busy := true; busy; {
					if busy, err = t.poll(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				t.closeAll()
			}
			b.ReportMetric(lines*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(len(content))*float64(b.N)/b.Elapsed().Seconds()/1e6, "MB/s")
		})
	}
}

// BenchmarkIdlePoll is what an idle file costs at every poll.
func BenchmarkIdlePoll(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	if err := os.WriteFile(path, []byte("line\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	src, err := New(Options{Spec: Spec{Name: "b", Type: TypeTail, Path: path}, Sink: nowhere{}, Clock: func() int64 { return 1 }})
	if err != nil {
		b.Fatal(err)
	}
	t := src.(*tail)
	defer t.closeAll()
	for b.Loop() {
		if _, err := t.poll(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSyslogMessage(b *testing.B) {
	s := Spec{Name: "b", Type: TypeSyslog, Listen: ":0"}.withDefaults()
	m, err := compile(&s)
	if err != nil {
		b.Fatal(err)
	}
	counts, err := newMetrics(nil, "b")
	if err != nil {
		b.Fatal(err)
	}
	x := newExtractor(m, counts, time.Now)
	l := line{bytes: []byte(`<131>1 2026-11-23T04:40:00.123456+00:00 gw01 swift-gateway 812 TMO [timeQuality tzKnown="1" isSynced="1"] upstream timed out after 30 s`)}
	b.ReportAllocs()
	var e event.Event
	for b.Loop() {
		x.event(&e, &l)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
