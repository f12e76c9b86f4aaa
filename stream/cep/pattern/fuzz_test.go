package pattern

import (
	"strings"
	"testing"
	"time"

	"pando/internal/pack"
	"pando/stream/cep"
)

// FuzzCompile: whatever stands in a pattern, it is refused with words, or
// compiles to a set that can be written, read and run.
func FuzzCompile(f *testing.F) {
	f.Add(`signal == "a" and value > 1`, `signal == "b" and value > a.n * 2`, `attr["x"] == a.attr["x"]`, "value", "2..4", "skip_to_last a", int64(3e9))
	f.Add(`kind in ["log"]`, `not (entity startsWith a.entity) or 1 < value < 3`, `true`, "-value + 1", "2+", "no_skip", int64(0))
	f.Add(`len(signal) > 3 ? true : false`, `value ** 2 in 1..3`, `a?.b`, "signal", "0", "x", int64(-1))
	f.Fuzz(func(t *testing.T, first, second, absent, of, times, after string, span int64) {
		p := Pattern{Name: "p", Key: []string{"entity"}, Within: time.Minute, Steps: []Step{
			{Name: "a", When: first, Fold: []Fold{{Name: "n", Op: FoldOp(cep.Last), Of: of}}},
			{Name: "b", When: second},
			{Name: "c", Absent: absent, For: time.Duration(span)},
		}}
		if p.Steps[0].Times.UnmarshalText([]byte(times)) != nil || p.AfterMatch.UnmarshalText([]byte(after)) != nil {
			return
		}
		set, err := Compile(&File{Patterns: []Pattern{p}})
		if err != nil {
			return
		}
		e, err := cep.New(travelled(t, set), cep.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		for i, signal := range []string{"a", "b", "a", "x", "b"} {
			e.Observe(&cep.Event{Time: int64(i) * 1e9, Seq: uint64(i), Kind: cep.KindLog, Entity: "e", Signal: signal, Value: int64(i) * cep.Scale})
		}
		e.Advance(1e12)
		w := pack.NewWriter()
		e.Snapshot(w)
		if err := e.Restore(pack.NewReader(w.Copy())); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzReadTrace: a trace is read or refused, and what is read is an event.
func FuzzReadTrace(f *testing.F) {
	f.Add(`{"time":"2026-11-29T12:00:00.5Z","kind":"span","severity":"error","entity":"e","signal":"s","value":1.5,"trace":"000102030405060708090a0b0c0d0e0f","attrs":{"a":"b"}}`)
	f.Add("{\"time\":\"1970-01-01T00:00:00Z\",\"severity\":24}\n\n{\"time\":\"2262-01-01T00:00:00Z\"}")
	f.Add(`{"time":"2026-11-29T12:00:00Z","severity":1.5}`)
	set, err := Compile(&File{Patterns: []Pattern{storm()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := ReadTrace(strings.NewReader(text))
		if err != nil {
			return
		}
		e, err := cep.New(set, cep.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		for i := range trace {
			if trace[i].Time < 0 {
				t.Fatalf("time %d", trace[i].Time)
			}
			e.Observe(&trace[i])
		}
		e.Advance(1 << 62)
	})
}

func TestReadTraceFaults(t *testing.T) {
	for text, want := range map[string]string{
		`{"time":"yesterday"}`: "line 1: parsing time",
		`{}`:                   "line 1: time: want one from 1970",
		"\n" + `{"time":"2026-11-29T12:00:00Z","when":1}`:                              `line 2: json: unknown field "when"`,
		`{"time":"2026-11-29T12:00:00Z"} {}`:                                           "more than one value",
		`{"time":"2026-11-29T12:00:00Z","kind":"heartbeat"}`:                           `kind "heartbeat": want log`,
		`{"time":"2026-11-29T12:00:00Z","trace":"abc"}`:                                "want 32 hexadecimal digits",
		`{"time":"2026-11-29T12:00:00Z","severity":25}`:                                "severity 25: want",
		`{"time":"2026-11-29T12:00:00Z","entity":"` + strings.Repeat("x", 1025) + `"}`: "a name of 1025 bytes",
		strings.Repeat("x", 2<<20):                                                     "line 1: bufio.Scanner: token too long",
	} {
		if _, err := ReadTrace(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}
