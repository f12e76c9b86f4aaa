package pattern

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pando/event"
	"pando/event/clock"
	"pando/internal/golden"
	"pando/internal/pack"
	"pando/stream/cep"
)

// TestGolden plays each trace of testdata and compares every word. A trace is
// a list of blocks: commands, a line of dashes, what they print, an empty line.
// The state's hash makes any other byte on any other machine show.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Base(file), []byte(play(t, string(text))), "raise logicVersion or codeVersion in stream/cep")
		})
	}
}

// stage holds what a trace has come to.
type stage struct {
	*testing.T
	out    strings.Builder
	file   File
	set    *cep.Set
	engine *cep.Engine
	seq    uint64
	names  map[uint64]string // of events, by sequence
	count  map[string]int    // of events, by signal
}

func play(t *testing.T, text string) string {
	s := &stage{T: t}
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		fmt.Fprintf(&s.out, "%s\n----\n", commands)
		for _, line := range strings.Split(commands, "\n") {
			if !strings.HasPrefix(line, "#") {
				s.perform(line)
			}
		}
		s.out.WriteString("\n")
	}
	return strings.TrimSuffix(s.out.String(), "\n")
}

// perform runs one command:
//
//	pattern [within=D] [after=STRATEGY[:STEP]] [runs=N] [keys=N] [overflow=POLICY]
//	step NAME [follow=C] [times=T] [repeat=C] [greedy] [optional] [n=OP:OF]... [: CONDITION]
//	absent NAME [for=D] [: CONDITION]
//	load | reload | restore | state
//	say SIGNAL... [at=D] [every=D] [entity=E] [value=V]
//	pass D
//
// A step without a condition is for the signal of its name. Load starts afresh,
// reload keeps what runs. Say gives events a second apart, and lets time come
// to the last one; pass lets it come to D.
func (s *stage) perform(line string) {
	head, condition, _ := strings.Cut(line, " : ")
	words := strings.Fields(head)
	args, options := split(words[1:])
	switch words[0] {
	case "pattern":
		s.pattern(options)
	case "step", "absent":
		s.step(words[0], args, options, condition)
	case "load", "reload":
		s.load(words[0] == "reload")
	case "restore":
		s.restore()
	case "say":
		s.say(args, options)
	case "pass":
		s.advance(s.duration(args[0]))
	case "state":
		s.state()
	default:
		s.Fatalf("%s: unknown command", line)
	}
}

func split(words []string) (args []string, options map[string]string) {
	options = map[string]string{}
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			options[name] = value
		} else {
			args = append(args, w)
		}
	}
	return args, options
}

func (s *stage) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// set reads an option, if it is there.
func (s *stage) option(options map[string]string, name string, into interface{ UnmarshalText([]byte) error }) {
	if text := options[name]; text != "" {
		if err := into.UnmarshalText([]byte(strings.Replace(text, ":", " ", 1))); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *stage) pattern(options map[string]string) {
	p := Pattern{Name: "p", Key: []string{"entity"}, Within: time.Minute, Finding: Finding{Summary: "found"}}
	if text := options["within"]; text != "" {
		p.Within = s.duration(text)
	}
	s.option(options, "after", &p.AfterMatch)
	s.option(options, "overflow", &p.Limits.Overflow)
	p.Limits.MaxRuns, _ = strconv.Atoi(options["runs"])
	p.Limits.MaxKeys, _ = strconv.Atoi(options["keys"])
	s.file = File{Patterns: []Pattern{p}}
}

func (s *stage) step(kind string, args []string, options map[string]string, condition string) {
	p := &s.file.Patterns[0]
	if condition == "" {
		condition = fmt.Sprintf("signal == %q", args[0])
	}
	st := Step{Name: args[0]}
	if kind == "absent" {
		st.Absent = condition
		if text := options["for"]; text != "" {
			st.For = s.duration(text)
		}
		p.Steps = append(p.Steps, st)
		return
	}
	st.When = condition
	s.option(options, "follow", &st.Follow)
	s.option(options, "repeat", &st.Repeat)
	s.option(options, "times", &st.Times)
	for _, word := range args[1:] {
		st.Greedy = st.Greedy || word == "greedy"
		st.Optional = st.Optional || word == "optional"
	}
	if text := options["n"]; text != "" {
		op, of, _ := strings.Cut(text, ":")
		f := Fold{Name: "n", Of: of}
		s.option(map[string]string{"op": op}, "op", &f.Op)
		st.Fold = append(st.Fold, f)
	}
	p.Steps = append(p.Steps, st)
}

func (s *stage) load(keep bool) {
	set, err := Compile(&s.file)
	if err != nil {
		s.Fatal(err)
	}
	hash := set.Hash(0)
	fmt.Fprintf(&s.out, "%x, at most %d bytes\n", hash[:4], set.Patterns()[0].Bound().Bytes)
	s.set = set
	if keep {
		s.engine.Reconfigure(set)
		return
	}
	s.engine, s.seq, s.names, s.count = s.fresh(), 0, map[uint64]string{}, map[string]int{}
}

func (s *stage) fresh() *cep.Engine {
	opts := cep.DefaultOptions()
	opts.Misses = true
	e, err := cep.New(s.set, opts)
	if err != nil {
		s.Fatal(err)
	}
	return e
}

func (s *stage) snapshot() []byte {
	w := pack.NewWriter()
	s.engine.Snapshot(w)
	return w.Copy()
}

// restore exchanges the engine for one with the patterns as they are written
// now, and the state of before.
func (s *stage) restore() {
	state := s.snapshot()
	s.engine = s.fresh()
	if err := s.engine.Restore(pack.NewReader(state)); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) say(signals []string, options map[string]string) {
	at, every, entity, value := time.Duration(s.seq)*time.Second, time.Second, "e", 1.0
	if text := options["at"]; text != "" {
		at = s.duration(text)
	}
	if text := options["every"]; text != "" {
		every = s.duration(text)
	}
	if text := options["entity"]; text != "" {
		entity = text
	}
	if text := options["value"]; text != "" {
		value, _ = strconv.ParseFloat(text, 64)
	}
	for _, signal := range signals {
		s.seq++
		s.count[signal]++
		s.names[s.seq] = signal + strconv.Itoa(s.count[signal])
		ev := event.Event{Seq: s.seq, Entity: entity, Signal: signal, Value: value}
		view := cep.FromEvent(event.Unit{Origin: "east/a", WAL: 1, Lane: event.Bulk}, &ev,
			clock.Interval{Lo: int64(at) - 1, Hi: int64(at) + 1}, int64(at))
		s.engine.Observe(&view)
		at += every
	}
	s.advance(at - every + 1)
}

// advance prints what is certain by then.
func (s *stage) advance(watermark time.Duration) {
	for _, m := range s.engine.Advance(int64(watermark)) {
		f := m.Finding(int64(watermark))
		fmt.Fprintf(&s.out, "%s: %s, ends %v, ×%d, %s\n", strings.Join(m.Key, ","), s.events(m.Evidence), time.Duration(m.End), m.Ways, f.Summary)
	}
	for _, m := range s.engine.Misses() {
		fmt.Fprintf(&s.out, "near miss %s: %s, at %v: %s\n", strings.Join(m.Key, ","), s.events(m.Evidence), time.Duration(m.At), m.Reason)
	}
}

func (s *stage) events(refs []cep.Ref) string {
	var names []string
	for _, ref := range refs {
		names = append(names, s.names[ref.Seq])
	}
	return strings.Join(names, " ")
}

func (s *stage) state() {
	z, t := s.engine.Status()[0], s.engine.Totals()
	fmt.Fprintf(&s.out, "%d runs of %d keys in %d groups; counts %v; totals %v; sha256 %.16x\n",
		z.Runs, z.Keys, z.Groups, z.Counts, t, sha256.Sum256(s.snapshot()))
}
