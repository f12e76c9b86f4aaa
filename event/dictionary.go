package event

import (
	"hash/maphash"
	"unsafe"
)

// dictionary numbers distinct strings from 1 in the order of first use; 0 is
// the empty string. It is reused from batch to batch. Its hash is seeded at
// random against chosen collisions, which no number depends on.
type dictionary struct {
	seed    maphash.Seed
	strings []string // by number - 1
	hashes  []uint32 // likewise
	slots   []slot   // open addressing, a power of two, at most half full
}

// slot is empty while its number is 0.
type slot struct {
	hash   uint32
	number uint32
}

// minSlots of a dictionary: most batches name few things.
const minSlots = 64

// reset forgets all strings.
func (d *dictionary) reset() {
	if d.slots == nil {
		d.seed = maphash.MakeSeed()
		d.slots = make([]slot, minSlots)
	}
	if len(d.strings) == 0 {
		return // as after the last reset
	}
	if len(d.slots) > minSlots && len(d.strings)*16 < len(d.slots) {
		d.slots = make([]slot, minSlots) // one large batch is no reason to clear as much for ever
	}
	clear(d.strings)
	d.strings, d.hashes = d.strings[:0], d.hashes[:0]
	clear(d.slots)
}

// number returns the number of s, which is not empty; fresh if it has just been given.
func (d *dictionary) number(s string) (n uint32, fresh bool) {
	hash := uint32(maphash.String(d.seed, s))
	mask := uint32(len(d.slots) - 1)
	at := hash & mask
	for d.slots[at].number != 0 {
		if d.slots[at].hash == hash && d.strings[d.slots[at].number-1] == s {
			return d.slots[at].number, false
		}
		at = (at + 1) & mask
	}
	d.strings, d.hashes = append(d.strings, s), append(d.hashes, hash)
	n = uint32(len(d.strings))
	d.slots[at] = slot{hash: hash, number: n}
	if len(d.strings)*2 > len(d.slots) {
		d.grow()
	}
	return n, true
}

// grow doubles the slots.
func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]slot, 2*len(old))
	mask := uint32(len(d.slots) - 1)
	for _, s := range old {
		if s.number == 0 {
			continue
		}
		at := s.hash & mask
		for d.slots[at].number != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = s
	}
}

// width is the number of bytes of one of the numbers 0 to n.
func width(n int) int {
	switch {
	case n == 0:
		return 0
	case n < 1<<8:
		return 1
	case n < 1<<16:
		return 2
	}
	return 4
}

// memoized is a dictionary that first looks where a string's bytes lie, in a
// fraction of the time: decoded and interned strings share theirs. Equal
// address and length are equal content as long as somebody holds the strings,
// so it is reset after each batch.
type memoized struct {
	dictionary
	memo [memoSize]memo
	used bool
}

type memo struct {
	data   *byte
	length int
	number uint32
}

const (
	memoBits = 9
	memoSize = 1 << memoBits // a few hundred names share it without much eviction
)

// reset forgets all strings.
func (m *memoized) reset() {
	m.dictionary.reset()
	if m.used {
		clear(m.memo[:])
		m.used = false
	}
}

// recall returns the number of a string whose bytes were met before.
func (m *memoized) recall(s string) (n uint32, ok bool) {
	data := unsafe.StringData(s)
	at := &m.memo[memoIndex(data)]
	return at.number, at.data == data && at.length == len(s)
}

// number is [dictionary.number], and 0 for the empty string.
func (m *memoized) number(s string) (n uint32, fresh bool) {
	if s == "" {
		return 0, false
	}
	n, fresh = m.dictionary.number(s)
	data := unsafe.StringData(s)
	m.memo[memoIndex(data)] = memo{data: data, length: len(s), number: n}
	m.used = true
	return n, fresh
}

// memoIndex spreads addresses by Knuth's multiplicative hash.
func memoIndex(data *byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(data))) * 0x9e3779b97f4a7c15 >> (64 - memoBits)
}
