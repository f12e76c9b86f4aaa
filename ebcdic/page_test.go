package ebcdic

import (
	"errors"
	"testing"
)

func TestPagesDifferWhereTheyMust(t *testing.T) {
	// The brackets are what most often betrays a wrong page; the euro sign is
	// all that tells 1140 from 037.
	for _, c := range []struct {
		page string
		in   []byte
		want string
	}{
		{"cp037", []byte{0xc1, 0xba, 0xbb, 0x9f}, "A[]¤"},
		{"IBM-1047", []byte{0xc1, 0xad, 0xbd}, "A[]"},
		{"1140", []byte{0x9f}, "€"},
		{"cp1047", []byte{NEL, LF, CR}, "\u0085\n\r"},
	} {
		p, err := Lookup(c.page)
		if err != nil {
			t.Fatal(err)
		}
		got, unmapped := p.AppendUTF8(nil, c.in)
		if string(got) != c.want || unmapped != 0 {
			t.Errorf("%s of % x: %q with %d unmapped, want %q", c.page, c.in, got, unmapped, c.want)
		}
	}
}

func TestUnknownPageIsRefused(t *testing.T) {
	if _, err := Lookup("cp500x"); !errors.Is(err, ErrUnknownPage) {
		t.Fatalf("got %v, want ErrUnknownPage", err)
	}
}
