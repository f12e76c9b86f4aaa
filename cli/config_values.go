package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Duration is a span of time in a configuration file, such as 500ms or 1h30m.
// A number without a unit is refused, for nobody can tell what it counts.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes what UnmarshalYAML reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalYAML reads the form of [time.ParseDuration].
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	text, err := scalar(node)
	if err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return wrongValue(node, "%q is not a duration; write it with its unit, such as 500ms, 10s or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes in a configuration file, such as 64MiB. A plain
// number counts bytes.
type Size int64

// sizeUnit is a unit's name and its bytes.
type sizeUnit struct {
	name  string
	bytes int64
}

// sizeUnits lists the longer names first, for B is the end of all others.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3},
		{"B", 1},
	}
}

// ParseSize reads a whole number and a unit: B, kB, MB, GB, TB (powers of
// 1000), KiB, MiB, GiB or TiB (powers of 1024).
func ParseSize(text string) (Size, error) {
	digits, unit := text, int64(1)
	for _, u := range sizeUnits() {
		if before, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimRight(before, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size; write a whole number and a unit, such as 512KiB or 64MiB", text)
	}
	return Size(n * unit), nil
}

// String writes the largest unit of 1024 that loses nothing.
func (s Size) String() string {
	for _, u := range sizeUnits()[:4] {
		if n := int64(s); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText writes what UnmarshalYAML reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalYAML reads what [ParseSize] does.
func (s *Size) UnmarshalYAML(node ast.Node) error {
	text, err := scalar(node)
	if err != nil {
		return err
	}
	v, err := ParseSize(text)
	if err != nil {
		return wrongValue(node, "%v", err)
	}
	*s = v
	return nil
}

// scalar is the text of a node that is a single value.
func scalar(node ast.Node) (string, error) {
	switch n := node.(type) {
	case *ast.AnchorNode:
		return scalar(n.Value)
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return n.GetToken().Value, nil
	}
	return "", wrongValue(node, "want one value, found %s", strings.ToLower(node.Type().String()))
}

// wrongValue is an error that carries the node's place in the file.
func wrongValue(node ast.Node, format string, args ...any) error {
	return &yaml.SyntaxError{Message: fmt.Sprintf(format, args...), Token: node.GetToken()}
}
