package input

import (
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// changes is the channel of a watch; what it carries does not matter.
type changes <-chan fsnotify.Event

// newWatch is told of changes in a folder, so that an idle tail may poll rarely
// and still read at once. It only ever saves time: what it misses (network
// file systems, targets of symbolic links, a full queue) the next poll finds.
func newWatch(dir string) (changes, func(), error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, nil, fmt.Errorf("watch: %w", err)
	}
	if err := w.Add(dir); err != nil {
		w.Close()
		return nil, nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return w.Events, func() { w.Close() }, nil
}
