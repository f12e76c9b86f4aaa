package input

import (
	"cmp"
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

// siblings lists the rotated files of path, from old to new.
func (t *tail) siblings(path string) []sibling {
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

// withHeads reads the first bytes of the siblings; those that cannot be read
// are left out.
func withHeads(s []sibling) []candidate {
	files := make([]candidate, 0, len(s)+1)
	for _, b := range s {
		if head, err := readHead(b.path); err == nil {
			b.head = head
			files = append(files, b.candidate)
		}
	}
	return files
}

// readHead reads the first bytes of a file.
func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
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
