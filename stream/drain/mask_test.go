package drain

import (
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"took 12 ms, 3.5s at 99% of -7", "took <num> ms, <num>s at <num>% of <num>"},
		{"worker-12 node3/eth0 blk_-160899", "worker-<num> node<num>/eth<num> blk_-<num>"},
		{"at 0x7ffe12 id deadbeef01 face cafe", "at <hex> id <hex> face cafe"},
		{"ref 0af76519-16cd-43dd-8448-eb211c80319c.", "ref <uuid>."},
		{"from 10.1.2.3 and 10.1.2.3:8080 in 10.0.0.0/8, not 10.1.2.300", "from <ip> and <ip> in <ip>, not <num>"},
		{"at fe80::1 and ::1, 1:2:3:4:5:6:7:8 but a::b::c", "at <ip> and <ip>, <ip> but a::b::c"},
		{"2026-11-23T04:40:00.123Z [23/Nov/2026:04:40:00 +0100] 12:34:56.78", "<time> [<time> <num>] <time>"},
		{"Nov 23 04:40:00 May I? Nov 2", "<time> <num> <time> May I? <time> <num>"},
		{"open /var/log/a.log: (C:\\tmp) https://x.y/z?q=1 and/or", "open <path>: (<path>) <path>=<num> and/or"},
		{`user="alice" id=42;x`, `user="alice" id=<num>;x`},
		{"  two\t \n blanks\x01 ", "two blanks"},
		{"größe 5 €", "größe <num> €"},
		{"", ""},
	} {
		if got := string(AppendMasked([]byte("> "), c.text)); got != "> "+c.want {
			t.Errorf("%q became %q, want %q", c.text, got, c.want)
		}
	}
}

// FuzzMask: nothing of a line without digits and slashes is lost, masked text
// has no digits left, and no blank is next to another.
func FuzzMask(f *testing.F) {
	_, lines := corpus(f)
	for _, line := range lines[:20] {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := string(AppendMasked(nil, text))
		if strings.ContainsAny(got, "0123456789") || strings.Contains(got, "  ") || strings.TrimSpace(got) != got && !strings.ContainsAny(got, "\u0085\u00a0") {
			t.Errorf("%q became %q", text, got)
		}
		if len(got) > 6*len(text) {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	})
}
