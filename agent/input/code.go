package input

import "strings"

// idWords are the words of a line among which a message id is looked for: that
// of a SYSLOG record stands behind eight columns, one of them a time of three
// words.
const idWords = 16

// hasCode reports whether a line carries a name of its own: the id of a
// mainframe message among its first words, or the status of an HTTP response.
// Such lines need no template, and must not have one: their ids tell more.
func hasCode(text string) bool {
	for i, words := 0, 0; i < len(text) && words < idWords; words++ {
		for i < len(text) && separates(text[i]) {
			i++
		}
		from := i
		for i < len(text) && !separates(text[i]) {
			i++
		}
		if isMessageID(text[from:i]) {
			return true
		}
	}
	return hasStatus(text)
}

// separates reports whether a character stands between words. A sign or an
// asterisk in front of an id tells of its message.
func separates(c byte) bool {
	switch c {
	case ' ', '\t', ':', ',', '=', '(', ')', '[', ']', '+', '-', '*', '@':
		return true
	}
	return false
}

// untyped are the prefixes of ids that end without a type letter: CICS, IMS
// and JES2, whose $ may be another character.
var untyped = []string{"DFH", "DFS", "$HASP", "/HASP", "HASP"}

// isMessageID accepts a prefix of three to six capitals, three to five digits
// and a type letter (IEF450I, DSNT376I), which the ids of some components lack
// (DFHAC2236, $HASP373).
func isMessageID(word string) bool {
	w := strings.TrimLeft(word, "$/")
	if len(word)-len(w) > 1 {
		return false
	}
	letters := 0
	for letters < len(w) && w[letters] >= 'A' && w[letters] <= 'Z' {
		letters++
	}
	digits := letters
	for digits < len(w) && w[digits] >= '0' && w[digits] <= '9' {
		digits++
	}
	if letters < 3 || letters > 6 || digits-letters < 3 || digits-letters > 5 {
		return false
	}
	if digits == len(w)-1 && w[digits] >= 'A' && w[digits] <= 'Z' {
		return true
	}
	if digits < len(w) {
		return false
	}
	for _, prefix := range untyped {
		if strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return false
}

// hasStatus looks for a status as access logs write it, "GET / HTTP/1.1" 503,
// and as programs do: HTTP 503, status=503, "status": 503.
func hasStatus(text string) bool {
	for rest := text; ; {
		at := strings.Index(rest, "HTTP")
		if at < 0 {
			break
		}
		rest = rest[at+len("HTTP"):]
		if strings.HasPrefix(rest, "/") {
			rest = strings.TrimLeft(rest, "/0123456789.")
		}
		if after := strings.TrimLeft(rest, `" `); len(after) < len(rest) && isStatus(after) {
			return true
		}
	}
	for rest := text; ; {
		at := strings.Index(rest, "status")
		if at < 0 {
			return false
		}
		rest = strings.TrimPrefix(rest[at+len("status"):], "_code")
		after := strings.TrimLeft(rest, `"`)
		if after != "" && (after[0] == '=' || after[0] == ':') && isStatus(strings.TrimLeft(after[1:], `" `)) {
			return true
		}
	}
}

// isStatus reports whether text begins with a number from 100 to 599.
func isStatus(text string) bool {
	if len(text) < 3 || text[0] < '1' || text[0] > '5' {
		return false
	}
	for i := 1; i < 3; i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return len(text) == 3 || text[3] < '0' || text[3] > '9'
}
