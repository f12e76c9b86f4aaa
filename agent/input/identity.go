package input

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pando/event"
)

// headBytes is how much of a file's beginning its fingerprint covers: nearly
// always the first line with its date, for one small read.
const headBytes = 256

// fileKey tells apart the files of a machine that exist at one time.
type fileKey struct{ dev, ino uint64 }

// identity finds a file again after a restart, under whatever name. Device
// and inode alone would take a new file that got an old inode for the old one,
// so the first bytes belong to it; the number of bytes that the fingerprint
// covers is part of it, so it stays true while the file grows.
//
// Generation counts how often the file was truncated in place and begun anew;
// from is where reading began, for sources that start at the end. Written as
// "<dev>:<ino>.<generation>/<from>/<length>:<sha256, 8 bytes>".
type identity struct {
	fileKey
	generation int
	from       int64
	length     int // of the head that sum covers, 0 to headBytes
	sum        string
}

// identify gives the identity of a file with this head.
func identify(key fileKey, generation int, from int64, head []byte) identity {
	return identity{key, generation, from, len(head), headSum(head)}
}

func headSum(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:8])
}

// isOf reports whether a file that begins with head may be this one; the key
// is not looked at.
func (d identity) isOf(head []byte) bool {
	return d.length > 0 && d.length <= len(head) && headSum(head[:d.length]) == d.sum
}

func (d identity) String() string {
	return d.slot() + "/" + strconv.FormatInt(d.from, 10) + "/" + strconv.Itoa(d.length) + ":" + d.sum
}

// slot names the file among those of its source. It does not change when the
// fingerprint grows.
func (d identity) slot() string {
	return fmt.Sprintf("%x:%x.%d", d.dev, d.ino, d.generation)
}

var errIdentity = errors.New("not the identity of a file")

func parseIdentity(text string) (identity, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return identity{}, errIdentity
	}
	keyText, generation, ok1 := strings.Cut(parts[0], ".")
	dev, ino, ok2 := strings.Cut(keyText, ":")
	length, sum, ok3 := strings.Cut(parts[2], ":")
	if !ok1 || !ok2 || !ok3 || len(sum) != 16 {
		return identity{}, errIdentity
	}
	var d identity
	var errs [5]error
	d.dev, errs[0] = strconv.ParseUint(dev, 16, 64)
	d.ino, errs[1] = strconv.ParseUint(ino, 16, 64)
	d.generation, errs[2] = strconv.Atoi(generation)
	d.from, errs[3] = strconv.ParseInt(parts[1], 10, 64)
	d.length, errs[4] = strconv.Atoi(length)
	d.sum = sum
	if errors.Join(errs[:]...) != nil || d.generation < 0 || d.from < 0 || d.length < 0 || d.length > headBytes {
		return identity{}, errIdentity
	}
	return d, nil
}

// mark is a durable position of one lane.
type mark struct {
	identity
	source string // the position's Source
	offset int64
}

// parseMarks takes the source's own positions out of a set. One that cannot
// be read is returned as an error: going on without it would read lines
// twice.
func parseMarks(name string, positions []event.Position) ([]mark, error) {
	var marks []mark
	for _, p := range positions {
		if SpecName(p) != name || p.File == "" {
			continue
		}
		d, err := parseIdentity(p.File)
		if err != nil || p.Offset < 0 {
			return nil, fmt.Errorf("resume at position %q, file %q, offset %d: %w", p.Source, p.File, p.Offset, errIdentity)
		}
		marks = append(marks, mark{d, p.Source, p.Offset})
	}
	return marks, nil
}
