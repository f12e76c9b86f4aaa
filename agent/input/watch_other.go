//go:build !linux

package input

import "errors"

type changes <-chan struct{}

// newWatch does not watch: other systems' ways need a descriptor for each file
// of the folder, or do not exist.
func newWatch(string) (changes, func(), error) {
	return nil, nil, errors.ErrUnsupported
}
