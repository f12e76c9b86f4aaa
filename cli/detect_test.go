package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Floors of the NAB standard score, some points below what was reached; see
// docs/DETECTORS.md.
const (
	leastOptimised   = 64.0
	leastLeaveOneOut = 60.0
)

// TestDetectNAB runs every series of the Numenta Anomaly Benchmark through the
// command, and scores what it says by the benchmark's own rules.
func TestDetectNAB(t *testing.T) {
	if testing.Short() {
		t.Skip("18 series of 114,000 rows: some seconds")
	}
	shared, err := filepath.Abs("../../shared")
	if err != nil {
		t.Fatal(err)
	}
	data, tool := filepath.Join(shared, "data", "nab"), filepath.Join(shared, "tools", "nab.py")
	labels := filepath.Join(data, "windows.json")
	text, err := os.ReadFile(labels)
	if err != nil {
		t.Skipf("no benchmark beside the repository: %v", err)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("its scorer needs Python: %v", err)
	}
	var series map[string]json.RawMessage
	if err := json.Unmarshal(text, &series); err != nil {
		t.Fatal(err)
	}
	scores := t.TempDir()
	for name := range series {
		var stdout, stderr bytes.Buffer
		if code := Run(t.Context(), []string{"detect", filepath.Join(data, name), "-o", "csv"}, nil, &stdout, &stderr); code != exitOK {
			t.Fatalf("%s: exit code %d: %s", name, code, &stderr)
		}
		rows, err := csv.NewReader(bytes.NewReader(stdout.Bytes())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if strings.HasPrefix(name, "artificialNoAnomaly/") && row[3] == "true" {
				t.Errorf("%s: a finding where nothing is anomalous: %v", name, row)
			}
		}
		file := filepath.Join(scores, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, stdout.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		flags []string
		least float64
	}{{"optimised threshold", nil, leastOptimised}, {"leave one folder out", []string{"--leave-one-out"}, leastLeaveOneOut}} {
		result := filepath.Join(t.TempDir(), "result.json")
		args := append([]string{tool, "score", "--labels", labels, "--scores", scores, "--json", result}, c.flags...)
		if out, err := exec.CommandContext(t.Context(), python, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c.name, err, out)
		}
		var said struct {
			Standard struct {
				All struct {
					Score float64 `json:"score"`
				} `json:"all"`
			} `json:"standard"`
		}
		text, err := os.ReadFile(result)
		if err != nil {
			t.Fatal(err)
		}
		// Python writes NaN for thresholds that differ by folder.
		if err := json.Unmarshal(bytes.ReplaceAll(text, []byte("NaN"), []byte("null")), &said); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: standard score %.1f", c.name, said.Standard.All.Score)
		if got := said.Standard.All.Score; got < c.least {
			t.Errorf("%s: standard score %.1f, want at least %.0f", c.name, got, c.least)
		}
	}
}

func TestParseMoment(t *testing.T) {
	want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	for _, text := range []string{
		"2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05", " 2026-01-02T03:04:05 ",
		"1767323045", "1767323045.0", "1767323045000", "1767323045000000", "1767323045000000000",
	} {
		if got, err := parseMoment(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := parseMoment("1767323045.25"); err != nil || got != want+250_000_000 {
		t.Errorf("a quarter of a second: %d, %v", got, err)
	}
	for _, text := range []string{"", "now", "-5", "1.2.3", "1e9", "99999999999999999999", "9223372036854775807", "0001-01-01T00:00:00Z", "2026-13-01 00:00:00"} {
		if got, err := parseMoment(text); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

// TestDetectEndless ends at a quote that is never closed, before it fills the
// memory.
func TestDetectEndless(t *testing.T) {
	in := io.MultiReader(strings.NewReader("time,value\n1,2\n2,\""), endless{})
	var stdout, stderr bytes.Buffer
	if code := Run(t.Context(), []string{"detect", "-", "-o", "csv"}, in, &stdout, &stderr); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	if want := "after line 2: a row is longer than 1048576 bytes"; !strings.Contains(stderr.String(), want) {
		t.Errorf("said %q, want %q", &stderr, want)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "x\n"[i&1]
	}
	return len(p), nil
}
