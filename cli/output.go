package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// outputFormat is how a command's data is written to stdout.
type outputFormat string

const (
	outputTable outputFormat = "table"
	outputJSON  outputFormat = "json"
	outputYAML  outputFormat = "yaml"
)

func parseOutput(name string) (outputFormat, error) {
	switch f := outputFormat(name); f {
	case outputTable, outputJSON, outputYAML:
		return f, nil
	}
	return "", fmt.Errorf("%q: want table, json or yaml", name)
}

// table is what people see of a value. Without columns it has no head line,
// and its rows are names and values.
type table struct {
	columns []string
	rows    [][]string
}

// add appends a row; each cell is printed as fmt.Sprint has it.
func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// render writes a command's result to stdout: value as JSON or YAML, by the
// same json tags, or the table, which shows the same facts to people.
func (e *env) render(value any, t table) error {
	var out []byte
	var err error
	switch e.output {
	case outputJSON:
		out, err = marshalJSON(value)
	case outputYAML:
		if out, err = marshalJSON(value); err == nil {
			out, err = jsonToYAML(out)
		}
	default:
		out, err = t.format()
	}
	if err != nil {
		return fmt.Errorf("render as %s: %w", e.output, err)
	}
	if _, err := e.stdout.Write(out); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// renderNext writes one value of a series that has no end: a JSON document a line,
// or a YAML document.
func (e *env) renderNext(value any) error {
	if e.output == outputYAML {
		if _, err := io.WriteString(e.stdout, "---\n"); err != nil {
			return err
		}
		return e.render(value, table{})
	}
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(append(escapeControls(b), '\n'))
	return err
}

func marshalJSON(value any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(value)
	return escapeControls(buf.Bytes()), err
}

// format lays the cells out in columns two spaces apart.
func (t table) format() ([]byte, error) {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	if len(t.columns) > 0 {
		head := make([]string, len(t.columns))
		for i, c := range t.columns {
			head[i] = strings.ToUpper(c)
		}
		writeRow(w, head)
	}
	for _, row := range t.rows {
		writeRow(w, row)
	}
	err := w.Flush()
	return buf.Bytes(), err
}

// writeRow's errors would be the tabwriter's, which Flush returns again.
func writeRow(w io.Writer, cells []string) {
	for i, c := range cells {
		if c == "" {
			c = "-" // so that columns can be cut with awk
		}
		if i > 0 {
			_, _ = io.WriteString(w, "\t")
		}
		_, _ = io.WriteString(w, printable(c, false))
	}
	_, _ = io.WriteString(w, "\n")
}
