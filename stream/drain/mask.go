package drain

import (
	"strings"
	"unicode/utf8"
)

// What a variable part of a line is replaced with. Numbers inside a word are
// replaced too, so worker-12 becomes worker-<num>.
const (
	maskNumber = "<num>"
	maskHex    = "<hex>"
	maskUUID   = "<uuid>"
	maskIP     = "<ip>"
	maskPath   = "<path>"
	maskTime   = "<time>"
)

// minHex is the length from which a word of hexadecimal digits with at least
// one decimal digit counts as one: below it are words such as face and e2e.
const minHex = 8

// AppendMasked appends text to dst with its variable parts replaced (numbers,
// hexadecimal numbers, UUIDs, IP addresses, paths and URLs, times) and every
// run of blanks and control characters made one blank. It reads ASCII; bytes
// of other characters stay as they are. The time is linear in the length.
func AppendMasked(dst []byte, text string) []byte {
	start, apart := len(dst), false
	for i := 0; i < len(text); {
		seen := class[text[i]]
		if seen&blank != 0 {
			apart = len(dst) > start
			i++
			continue
		}
		if apart {
			dst, apart = append(dst, ' '), false
		}
		if seen&bracket != 0 {
			dst = append(dst, text[i])
			i++
			continue
		}
		from := i
		for i++; i < len(text); i++ {
			c := class[text[i]]
			if c&(blank|bracket) != 0 {
				break
			}
			seen |= c
		}
		dst = appendWord(dst, text[from:i], seen, text[i:])
	}
	return dst
}

// Classes of bytes, as bits.
const (
	blank   uint16 = 1 << iota
	bracket        // separates words and stays: brackets, quotes, = , ; |
	digit
	hexLetter
	slash
	colon
	point
	dash
	letter // any other character
)

// class is indexed by the byte.
var class = func() (t [256]uint16) {
	for c := range t {
		t[c] = letter
	}
	for c := range 0x21 {
		t[c] = blank
	}
	t[0x7f] = blank
	for _, c := range []byte(`()[]{}<>"'=,;|`) {
		t[c] = bracket
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = digit
	}
	for c := byte('a'); c <= 'f'; c++ {
		t[c], t[c-'a'+'A'] = hexLetter, hexLetter
	}
	t['/'], t['\\'], t[':'], t['.'], t['-'] = slash, slash, colon, point, dash
	return t
}()

// appendWord masks one word, of whose bytes the classes are seen. What follows
// it decides whether a month's name is part of a time.
func appendWord(dst []byte, word string, seen uint16, rest string) []byte {
	if seen&(digit|slash) == 0 {
		switch {
		case len(word) == 3 && isMonth(word) && beforeDay(rest):
			return append(dst, maskTime...)
		case seen&colon != 0 && isIPv6(word): // fe::ab
			return append(dst, maskIP...)
		}
		return append(dst, word...)
	}
	if seen == digit {
		return append(dst, maskNumber...)
	}
	end := len(word) // punctuation that ends a clause is no part of the word
	for end > 0 && strings.IndexByte(".:!?-", word[end-1]) >= 0 {
		end--
	}
	word, tail := word[:end], word[end:]
	if seen&digit == 0 {
		if isPath(word) {
			dst = append(dst, maskPath...)
		} else {
			dst = append(dst, word...)
		}
		return append(dst, tail...)
	}
	switch {
	case seen&point != 0 && isIPv4(word), seen&colon != 0 && isIPv6(word):
		dst = append(dst, maskIP...)
	case seen&(colon|dash|slash) != 0 && isTime(word):
		dst = append(dst, maskTime...)
	case seen&slash != 0 && isPath(word):
		dst = append(dst, maskPath...)
	case seen&dash != 0 && isUUID(word):
		dst = append(dst, maskUUID...)
	case isHex(word):
		dst = append(dst, maskHex...)
	default:
		dst = appendDigits(dst, word)
	}
	return append(dst, tail...)
}

// appendDigits masks the numbers of a word: a sign in front and the point or
// colon between two runs of digits belong to the number.
func appendDigits(dst []byte, word string) []byte {
	i := 0
	if len(word) > 1 && (word[0] == '-' || word[0] == '+') && isDigit(word[1]) {
		i = 1
	}
	for i < len(word) {
		if !isDigit(word[i]) {
			dst = append(dst, word[i])
			i++
			continue
		}
		for i < len(word) && (isDigit(word[i]) ||
			i+1 < len(word) && (word[i] == '.' || word[i] == ':') && isDigit(word[i+1])) {
			i++
		}
		dst = append(dst, maskNumber...)
	}
	return dst
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// isTime accepts dates and times of day made of digits: 2026-11-23,
// 12:34:56.78, 23/Nov/2026:04:40:00, 2026-11-23T04:40:00.123+01:00.
func isTime(w string) bool {
	if !isDigit(w[0]) {
		return false
	}
	runs, marks := 0, 0 // of digits; of the characters between the parts of a date or time
	for i := 0; i < len(w); i++ {
		switch c := w[i]; {
		case isDigit(c):
			if i == 0 || !isDigit(w[i-1]) {
				runs++
			}
		case c == '-' || c == ':' || c == '/':
			marks++
		case c == '.' || c == '+' || c == 'T' || c == 'Z' && i == len(w)-1:
		case (c|0x20) >= 'a' && i > 0 && w[i-1] == '/' && i+3 < len(w) && w[i+3] == '/' && isMonth(w[i:i+3]):
			i += 2
			runs++
		default:
			return false
		}
	}
	return marks >= 2 && runs >= 3
}

// isIPv4 accepts four decimal bytes, with a port or a prefix length.
func isIPv4(w string) bool {
	dots, n, digits := 0, 0, 0
	for i := 0; i < len(w); i++ {
		switch c := w[i]; {
		case isDigit(c):
			n, digits = 10*n+int(c-'0'), digits+1
			if n > 255 || digits > 3 {
				return false
			}
		case c == '.' && digits > 0 && dots < 3:
			dots, n, digits = dots+1, 0, 0
		case (c == ':' || c == '/') && dots == 3 && digits > 0:
			return allDigits(w[i+1:])
		default:
			return false
		}
	}
	return dots == 3 && digits > 0
}

func allDigits(w string) bool {
	for i := 0; i < len(w); i++ {
		if !isDigit(w[i]) {
			return false
		}
	}
	return len(w) > 0
}

// isIPv6 accepts groups of hexadecimal digits between colons, with :: once or
// all eight.
func isIPv6(w string) bool {
	colons, double, digits := 0, 0, 0
	for i := 0; i < len(w); i++ {
		switch c := w[i]; {
		case class[c]&(digit|hexLetter) != 0:
			if digits++; digits > 4 {
				return false
			}
		case c == ':':
			colons++
			if i > 0 && w[i-1] == ':' {
				double++
			}
			digits = 0
		default:
			return false
		}
	}
	return double == 1 && colons <= 7 && len(w) > 2 || double == 0 && colons == 7
}

// isPath accepts what begins with a slash or a drive, and URLs.
func isPath(w string) bool {
	switch {
	case len(w) < 2:
		return false
	case w[0] == '/' || w[0] == '\\', len(w) > 2 && w[1] == ':' && class[w[2]]&slash != 0:
		return true
	}
	return strings.Index(w, "://") > 0
}

func isUUID(w string) bool {
	if len(w) != 36 {
		return false
	}
	for i := range 36 {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if w[i] != '-' {
				return false
			}
		} else if class[w[i]]&(digit|hexLetter) == 0 {
			return false
		}
	}
	return true
}

// isHex accepts 0x and hexadecimal digits, or minHex of them of which some are
// letters and some are not.
func isHex(w string) bool {
	prefixed := len(w) > 2 && w[0] == '0' && w[1]|0x20 == 'x'
	if prefixed {
		w = w[2:]
	}
	var seen uint16
	for i := 0; i < len(w); i++ {
		c := class[w[i]]
		if c&(digit|hexLetter) == 0 {
			return false
		}
		seen |= c
	}
	return prefixed || len(w) >= minHex && seen == digit|hexLetter
}

func isMonth(w string) bool {
	switch w {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

// beforeDay reports whether text goes on with blanks and a day's number.
func beforeDay(text string) bool {
	i := 0
	for i < len(text) && text[i] == ' ' {
		i++
	}
	return i > 0 && i < len(text) && isDigit(text[i])
}

// clip cuts text to at most n bytes between two characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
