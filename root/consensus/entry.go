//go:build !zos

package consensus

import (
	"fmt"

	"pando/internal/pack"
)

// An entry is: format (1), array of commands, each a byte string.
const entryFormat = 1

// itemOverhead is the most bytes that framing adds to a command.
const itemOverhead = 5

// packEntry joins commands into the bytes of one entry.
func packEntry(w *pack.Writer, cmds [][]byte) []byte {
	w.Reset()
	w.Uint(entryFormat)
	w.Array(len(cmds))
	for _, cmd := range cmds {
		w.Bin(cmd)
	}
	return w.Copy()
}

// unpackEntry splits an entry. The commands share its memory.
func unpackEntry(entry []byte) ([][]byte, error) {
	r := pack.NewReader(entry)
	if format := r.Uint("entry format", 255); r.Err() == nil && format != entryFormat {
		return nil, fmt.Errorf("entry format %d is unknown here, %d is known: a newer member wrote it", format, entryFormat)
	}
	cmds := make([][]byte, r.Array("commands", MaxCommands))
	for i := range cmds {
		cmds[i] = r.Bin("command", MaxCommand)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	return cmds, nil
}
