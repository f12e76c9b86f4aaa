package detect

import "fmt"

// Direction of the changes to look for.
type Direction uint8

// The directions.
const (
	Both Direction = iota
	Rises
	Falls
)

var directions = [...]string{"both", "rises", "falls"}

// MarshalText writes the word.
func (d Direction) MarshalText() ([]byte, error) {
	if d > Falls {
		return nil, fmt.Errorf("direction %d has no name", d)
	}
	return []byte(directions[d]), nil
}

// UnmarshalText reads a word.
func (d *Direction) UnmarshalText(text []byte) error {
	for i, word := range directions {
		if word == string(text) {
			*d = Direction(i)
			return nil
		}
	}
	return fmt.Errorf("direction %q: want both, rises or falls", text)
}
