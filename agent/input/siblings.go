package input

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxSiblings bounds the rotated files looked at beside one path; of more,
// the newest are taken.
const maxSiblings = 64

// rotatedName matches what rotation appends to a file's name: a dot or dash
// and then a number, a date, or one of the customary words. Compressed files
// do not match.
func rotatedName() *regexp.Regexp {
	return regexp.MustCompile(`^[.-](\d[\d.\-_:T]*|old|bak|prev)$`)
}

// sibling is a rotated file.
type sibling struct {
	candidate
	mtime  int64
	suffix string
}

// siblings lists the rotated files of path, from old to new. A rotation in
// progress could hide a file from one look, so two must agree; it fails with
// errMoved if they do not.
func (t *tail) siblings(path string) ([]sibling, error) {
	found := t.look(path)
	again := t.look(path)
	same := slices.EqualFunc(found, again, func(a, b sibling) bool { return a.key == b.key && a.path == b.path })
	if !same {
		return nil, fmt.Errorf("look beside %s: %w", path, errMoved)
	}
	return again, nil
}

// look lists them once.
func (t *tail) look(path string) []sibling {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []sibling
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), base)
		if !ok || !t.rotated.MatchString(suffix) {
			continue
		}
		full := dir + e.Name()
		st, err := statPath(full)
		if err != nil || !st.regular {
			continue
		}
		found = append(found, sibling{candidate{path: full, key: st.key, size: st.size}, st.mtime, suffix})
	}
	sortSiblings(found)
	return found[max(0, len(found)-maxSiblings):]
}

// sortSiblings sorts from old to new. Small numbers count upwards with age
// (app.log.1 is the newest); everything else goes by the time of the last
// write, then by name, as dates do.
func sortSiblings(s []sibling) {
	numbered := !slices.ContainsFunc(s, func(b sibling) bool { return ordinal(b.suffix) < 0 })
	slices.SortStableFunc(s, func(a, b sibling) int {
		if numbered {
			return cmp.Compare(ordinal(b.suffix), ordinal(a.suffix))
		}
		return cmp.Or(cmp.Compare(a.mtime, b.mtime), strings.Compare(a.suffix, b.suffix))
	})
}

// ordinal is the number of a suffix such as .12, or -1. Six digits and more
// are dates or times.
func ordinal(suffix string) int {
	n, err := strconv.Atoi(suffix[1:])
	if err != nil || len(suffix) > 6 {
		return -1
	}
	return n
}

// withHeads reads the first bytes of the siblings. Those that may not be read
// are left out.
func withHeads(s []sibling) ([]candidate, error) {
	files := make([]candidate, 0, len(s)+1)
	for _, b := range s {
		head, err := readHead(b.path, b.key)
		switch {
		case errors.Is(err, errMoved):
			return nil, err
		case err == nil:
			b.head = head
			files = append(files, b.candidate)
		}
	}
	return files, nil
}

// openAs opens the file that had this name and key a moment before; it fails
// with errMoved if the name is another's, or nobody's, by now.
func openAs(path string, key fileKey) (*os.File, fileState, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("open %s: %w", path, errMoved)
	}
	if err != nil {
		return nil, fileState{}, err
	}
	st, err := statFile(f)
	if err == nil && st.key != key {
		err = fmt.Errorf("open %s: %w", path, errMoved)
	}
	if err != nil {
		f.Close()
		return nil, fileState{}, err
	}
	return f, st, nil
}

// errMoved says that names changed while one looked. It is no fault: the next
// poll sees them as they are.
var errMoved = errors.New("another file has this name now")

// readHead reads the first bytes of a file.
func readHead(path string, key fileKey) ([]byte, error) {
	f, _, err := openAs(path, key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return headOf(f, headBytes)
}

// headOf reads the first n bytes of an open file, fewer if it is shorter.
func headOf(f *os.File, n int) ([]byte, error) {
	head := make([]byte, n)
	got, err := f.ReadAt(head, 0)
	if got == 0 && err != nil && !isEOF(err) {
		return nil, err
	}
	return head[:got], nil
}
