// Package ebcdic reads what mainframes write. It holds bytes and tables only
// and knows nothing of events.
//
// The tables of the code pages are those of golang.org/x/text, which agree
// with ICU on the pages offered here.
package ebcdic

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// The control characters that end records. They are the same in every page.
const (
	NEL = 0x15 // new line, as z/OS UNIX writes it
	LF  = 0x25 // line feed, as many converters write it
	CR  = 0x0d
)

// ErrUnknownPage says that a code page's name is not among [PageNames].
var ErrUnknownPage = errors.New("unknown code page")

// Page decodes one single-byte EBCDIC code page. It is immutable and safe for
// concurrent use.
type Page struct {
	name  string
	runes [256]rune
}

// PageNames are the names [Lookup] knows.
func PageNames() []string { return []string{"cp037", "cp1047", "cp1140"} }

// Lookup returns the page of that name, in any case and with or without "cp",
// "ibm" or "ibm-" in front. It fails with [ErrUnknownPage].
func Lookup(name string) (*Page, error) {
	short := strings.ToLower(name)
	for _, prefix := range []string{"ibm-", "ibm", "cp"} {
		if rest, ok := strings.CutPrefix(short, prefix); ok {
			short = rest
			break
		}
	}
	var table *charmap.Charmap
	switch short {
	case "037", "37":
		short, table = "037", charmap.CodePage037
	case "1047":
		table = charmap.CodePage1047
	case "1140":
		table = charmap.CodePage1140
	default:
		return nil, fmt.Errorf("code page %q: %w (known are %s)", name, ErrUnknownPage, strings.Join(PageNames(), ", "))
	}
	p := &Page{name: "cp" + short}
	for b := range p.runes {
		p.runes[b] = table.DecodeByte(byte(b))
	}
	return p, nil
}

// Name is the page's canonical name, such as cp1047.
func (p *Page) Name() string { return p.name }

// AppendUTF8 appends src, decoded, to dst and returns it with the number of
// bytes that the page does not map; each of those became U+FFFD. One byte
// becomes at most three.
func (p *Page) AppendUTF8(dst, src []byte) ([]byte, int) {
	unmapped := 0
	for _, b := range src {
		r := p.runes[b]
		if r == utf8.RuneError {
			unmapped++
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, unmapped
}
