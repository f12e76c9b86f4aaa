package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// jsonToYAML rewrites the JSON of one value as YAML, keys in the same order.
// It is not the YAML library's own conversion because that one leaves control
// characters as they are, which is neither YAML nor safe on a terminal. Here a
// string is either made of harmless characters and like no other scalar, or
// quoted exactly as JSON quotes it, which YAML 1.2 reads alike.
func jsonToYAML(text []byte) ([]byte, error) {
	y := &yamlWriter{dec: json.NewDecoder(bytes.NewReader(text)), plain: regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)}
	y.dec.UseNumber()
	if err := y.value(0, ""); err != nil {
		return nil, err
	}
	return y.out.Bytes(), nil
}

type yamlWriter struct {
	dec   *json.Decoder
	plain *regexp.Regexp
	out   bytes.Buffer
}

// value writes the next value. After a key, lead is a space: a scalar follows
// it on the same line, members begin a new one. After a list's dash, and at
// the very top, lead is empty, and the first member stands on the open line.
func (y *yamlWriter) value(indent int, lead string) error {
	tok, err := y.dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	switch {
	case !ok:
		text, err := y.scalar(tok)
		y.out.WriteString(lead + text + "\n")
		return err
	case !y.dec.More():
		y.out.WriteString(lead + map[json.Delim]string{'{': "{}", '[': "[]"}[open] + "\n")
	default:
		if lead != "" {
			y.out.WriteString("\n" + strings.Repeat("  ", indent))
		}
		if err := y.members(open, indent); err != nil {
			return err
		}
	}
	_, err = y.dec.Token() // the closing bracket
	return err
}

// members writes a list's or a map's members; the first stands on the open
// line, whose indentation is written.
func (y *yamlWriter) members(open json.Delim, indent int) error {
	for pad := ""; y.dec.More(); pad = strings.Repeat("  ", indent) {
		if open == '[' {
			y.out.WriteString(pad + "- ")
			if err := y.value(indent+1, ""); err != nil {
				return err
			}
			continue
		}
		key, err := y.dec.Token()
		if err != nil {
			return err
		}
		text, err := y.scalar(key)
		if err != nil {
			return err
		}
		y.out.WriteString(pad + text + ":")
		if err := y.value(indent+1, " "); err != nil {
			return err
		}
	}
	return nil
}

func (y *yamlWriter) scalar(tok json.Token) (string, error) {
	switch v := tok.(type) {
	case nil:
		return "null", nil
	case bool:
		return fmt.Sprint(v), nil
	case json.Number:
		return v.String(), nil
	case string:
		if y.plain.MatchString(v) && !looksTyped(v) {
			return v, nil
		}
		quoted, err := marshalJSON(v)
		return strings.TrimSpace(string(quoted)), err
	}
	return "", errors.New("not JSON")
}

// looksTyped holds for words that some version of YAML takes for a boolean or
// for nothing.
func looksTyped(s string) bool {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}

// escapeControls replaces the control characters that the JSON encoder lets
// pass inside strings by JSON's escapes. Outside of strings JSON has none but
// line breaks and tabs.
func escapeControls(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r >= 0x7f && isControl(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = append(out, text[:n]...)
		}
		text = text[n:]
	}
	return out
}
