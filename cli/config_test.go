package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sampleConfig has every shape that a role's options have.
type sampleConfig struct {
	SampleLogs `yaml:",inline"`
	Listen     string            `yaml:"listen"`
	Heartbeat  Duration          `yaml:"heartbeat"`
	Segment    Size              `yaml:"segment_bytes"`
	Keep       int               `yaml:"keep"`
	Labels     map[string]string `yaml:"labels"`
	Inputs     []sampleInput     `yaml:"inputs"`
}

type SampleLogs struct {
	Level string `yaml:"level"`
}

type sampleInput struct {
	Path string    `yaml:"path"`
	Wait *Duration `yaml:"wait"`
}

func load(t *testing.T, text string) (sampleConfig, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := sampleConfig{Keep: 7, Heartbeat: Duration(200 * time.Millisecond)}
	err := loadYAML(path, &c)
	return c, err
}

func TestConfigurationOverridesDefaults(t *testing.T) {
	c, err := load(t, "# a comment\nlevel: debug\nsegment_bytes: 64MiB\nlabels: {free: form}\n"+
		"inputs:\n  - path: $HOME/x\n    wait: &w 1h30m\n  - wait: *w\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Keep != 7 || c.Heartbeat != Duration(200*time.Millisecond) {
		t.Errorf("defaults are gone: %+v", c)
	}
	if c.Level != "debug" || c.Segment != 64<<20 || c.Labels["free"] != "form" || len(c.Inputs) != 2 {
		t.Fatalf("read %+v", c)
	}
	if c.Inputs[0].Path != "$HOME/x" {
		t.Errorf("the environment leaked into %q", c.Inputs[0].Path)
	}
	for i, in := range c.Inputs {
		if in.Wait == nil || *in.Wait != Duration(90*time.Minute) {
			t.Errorf("input %d waits %v", i, in.Wait)
		}
	}
}

func TestFaultyConfigurationNamesThePlace(t *testing.T) {
	cases := []struct{ name, text, place, says, hint string }{
		{"typo in a list's element", "inputs:\n  - path: a\n    wiat: 5s\n", ":3:5:", `unknown key "wiat"`, `"wait"`},
		{"typo in an inlined struct", "lvel: debug\n", ":1:1:", `unknown key "lvel"`, `"level"`},
		{"unknown and like nothing", "zzzzzzzz: 1\n", ":1:1:", `unknown key "zzzzzzzz"`, ""},
		{"doubled key", "keep: 1\nkeep: 2\n", ":2:1:", "already defined", ""},
		{"duration without unit", "heartbeat: 500\n", ":1:12:", "with its unit", ""},
		{"duration in a list", "inputs:\n- wait: soon\n", ":2:9:", "is not a duration", ""},
		{"size in fractions", "segment_bytes: 1.5GiB\n", ":1:16:", "is not a size", ""},
		{"size beyond 63 bits", "segment_bytes: 9999999TiB\n", ":1:16:", "is not a size", ""},
		{"a map as a size", "segment_bytes: {a: 1}\n", ":1:16:", "want one value", ""},
		{"fraction of a count", "keep: 1.5\n", ":1:7:", "want a whole number", ""},
		{"another type", "keep: many\n", ":1:7:", "cannot unmarshal string", ""},
		{"second document", "keep: 1\n---\nkeep: 2\n", ":3:5:", "second document", "one document"},
		{"not YAML", "inputs: [\n", ":1:9:", "not found", ""},
		{"a list of documents", "- keep: 1\n", ":1:1:", "", ""},
		{"too long", "# " + strings.Repeat("x", maxConfig), ":", "longer than", "right file"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, tc.text)
			var fault *configError
			if !errors.As(err, &fault) {
				t.Fatalf("got %v", err)
			}
			if exitCode(err) != exitUsage {
				t.Errorf("exit code %d", exitCode(err))
			}
			if msg := err.Error(); !strings.Contains(msg, "agent.yaml"+tc.place) || !strings.Contains(msg, tc.says) {
				t.Errorf("error %q, want %q and %q", msg, tc.place, tc.says)
			}
			if (tc.hint == "") != (fault.Hint() == "") || !strings.Contains(fault.Hint(), tc.hint) {
				t.Errorf("hint %q, want %q", fault.Hint(), tc.hint)
			}
		})
	}
}

func TestFaultShowsTheLine(t *testing.T) {
	_, err := load(t, "keep: 1\ninputs:\n  - path: a\n    wiat: 5s\n")
	if err == nil || !strings.HasSuffix(err.Error(), "\n        wiat: 5s\n        ^") {
		t.Errorf("got\n%v", err)
	}
}

func TestSizesReadBackAsWritten(t *testing.T) {
	for _, s := range []Size{0, 1, 1000, 1024, 1536, 64 << 20, 3 << 40, 1<<63 - 1} {
		back, err := ParseSize(s.String())
		if err != nil || back != s {
			t.Errorf("%d → %s → %d, %v", int64(s), s, int64(back), err)
		}
	}
}

// The loader reads files by hand-written rules over an untrusted tree, so no
// text may crash it or hang it.
func FuzzLoadYAML(f *testing.F) {
	f.Add("inputs:\n  - path: a\n    wait: 5s\n")
	f.Add("labels: &l {a: b}\ninputs: [*l]\n<<: *l\n")
	f.Add("keep: !!int 0x1f\n? complex\n: key\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c sampleConfig
		if err := decodeYAML("f.yaml", []byte(text), &c); err != nil && err.Error() == "" {
			t.Error("an error that says nothing")
		}
	})
}
