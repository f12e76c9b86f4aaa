package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxConfig is the longest configuration file in bytes. The largest ones,
// with hundreds of sources and their rules, stay below a tenth of it.
const maxConfig = 1 << 20

// configError is a fault in a configuration file. It wraps errUsage.
type configError struct {
	path         string
	line, column int    // from 1; 0 if the fault has no place
	source       string // the line at fault
	reason       string
	hint         string
}

func (e *configError) Error() string {
	if e.line == 0 {
		return fmt.Sprintf("%s: %s", e.path, e.reason)
	}
	where := fmt.Sprintf("%s:%d:%d: %s", e.path, e.line, e.column, e.reason)
	if e.source == "" {
		return where
	}
	// The caret stands under the column; tabs are kept so that it does so
	// whatever their width.
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return '\t'
		}
		return ' '
	}, string([]rune(e.source)[:min(e.column-1, len([]rune(e.source)))]))
	return fmt.Sprintf("%s\n    %s\n    %s^", where, e.source, indent)
}

func (e *configError) Hint() string { return e.hint }

func (e *configError) Unwrap() error { return errUsage }

// loadYAML reads one YAML document into a struct that holds the defaults: what
// the file does not mention stays. It is strict: an unknown or doubled key, a
// value of another type, a second document or a file above [maxConfig] is an
// error that names the place. Nothing is taken from the environment; what the
// file says is what holds. Keys are matched by the fields' yaml tags.
func loadYAML(path string, into any) error {
	text, err := readConfig(path)
	if err != nil {
		return err
	}
	return decodeYAML(path, text, into)
}

// readConfig reads a whole file, unless it is too long to be a configuration.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	defer f.Close() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	if len(text) > maxConfig {
		return nil, &configError{path: path, reason: fmt.Sprintf("longer than %d bytes", maxConfig),
			hint: "a configuration is short; is this the right file?"}
	}
	return text, nil
}

func decodeYAML(path string, text []byte, into any) error {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return located(path, text, err)
	}
	var docs []*ast.DocumentNode
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d)
		}
	}
	switch {
	case len(docs) == 0:
		return nil
	case len(docs) > 1:
		fault := &configError{path: path, reason: "a second document begins here", hint: "put everything into one document"}
		fault.place(text, docs[1].Body.GetToken())
		return fault
	}
	if fault := lint(docs[0].Body, reflect.TypeOf(into), 0); fault != nil {
		fault.path = path
		fault.place(text, fault.token)
		return fault.configError
	}
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(into)
	if err != nil && !errors.Is(err, io.EOF) {
		return located(path, text, err)
	}
	return nil
}

// located turns the YAML library's error into ours.
func located(path string, text []byte, err error) error {
	fault := &configError{path: path, reason: err.Error()}
	var at yaml.Error
	if errors.As(err, &at) {
		fault.reason = at.GetMessage()
		fault.place(text, at.GetToken())
	}
	return fault
}

// place sets the line and column at which the token stands.
func (e *configError) place(text []byte, t *token.Token) {
	if t == nil || t.Position == nil {
		return
	}
	e.line, e.column = t.Position.Line, max(t.Position.Column, 1)
	lines := strings.Split(string(text), "\n")
	if e.line >= 1 && e.line <= len(lines) {
		e.source = strings.TrimSuffix(lines[e.line-1], "\r")
	}
}
