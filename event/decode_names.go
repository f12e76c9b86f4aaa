package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
	"unique"

	"pando/internal/pack"
)

// recall is what decoding strings needs for a while, and what it remembers from
// batch to batch. Few are in use at a time, whatever the number of Columns: so they
// stay in the caches of the processors that decode.
type recall struct {
	dicts [stringColumns]dictionary // find repetitions
	known [stringColumns]known
}

var recalls = sync.Pool{New: func() any { return new(recall) }}

// readStrings reads a column of n strings of at most limit bytes each, into the
// memory of index: the dictionary, "" first, and each entry's place in it; no
// places if all entries are empty.
func (c *Columns) readStrings(r *pack.Reader, dict *dictionary, column int, index []uint32, n, limit int) Names {
	field := stringFields[column]
	lengths := r.Bin(field, MaxBatchBytes)
	text := string(r.Bin(field, MaxBatchBytes))
	packed := r.Bin(field, MaxBatchBytes)
	if r.Err() != nil {
		return Names{Index: index[:0]}
	}
	texts, err := splitTexts(c.texts[column], dict, field, lengths, text, limit)
	if err != nil {
		r.Fail(field, err)
		return Names{Index: index[:0]}
	}
	c.texts[column] = texts
	if len(texts) == 1 && len(packed) == 0 {
		return Names{Texts: texts, Index: index[:0]}
	}
	index = sized(index, n)
	if !unpack(index, packed, len(texts)-1) {
		r.Fail(field, errors.New("indices not those of the dictionary in the order of first use"))
		return Names{Index: index[:0]}
	}
	return Names{Texts: texts, Index: index}
}

// splitTexts splits text into distinct strings, after the empty one, in the
// memory of texts.
func splitTexts(texts []string, dict *dictionary, field string, lengths []byte, text string, limit int) ([]string, error) {
	dict.reset()
	texts = append(texts[:0], "")
	valid := utf8.ValidString(text) // and so are the parts that begin with a character
	for at := 0; at < len(lengths); {
		n, next := uvarint(lengths, at)
		switch {
		case next == 0:
			return nil, errNotCanonical
		case n == 0 || n > uint64(limit):
			return nil, fmt.Errorf("string of %d bytes: must be 1 to %d", n, limit)
		case n > uint64(len(text)):
			return nil, fmt.Errorf("string of %d bytes announced, %d there", n, len(text))
		}
		s := text[:n]
		if !valid || !utf8.RuneStart(s[0]) {
			if err := checkText(field, s, limit); err != nil {
				return nil, err
			}
		}
		if _, fresh := dict.number(s); !fresh {
			return nil, fmt.Errorf("string %.40q repeated", s)
		}
		texts = append(texts, s)
		text, at = text[n:], next
	}
	if text != "" {
		return nil, fmt.Errorf("%d bytes left over after the strings", len(text))
	}
	return texts, nil
}

// unpack reads the indices 0 to size, packed in as few bytes each as that
// takes, or a single 1 that stands for all. It refuses any that the encoder
// would not have written: every index must occur, for the first time after
// the one below it, and they must not all be the same.
func unpack(indices []uint32, packed []byte, size int) bool {
	if size == 1 && len(packed) == 1 {
		for i := range indices {
			indices[i] = 1
		}
		return packed[0] == 1
	}
	w := width(size)
	if w == 0 || len(packed) != w*len(indices) {
		return false
	}
	used, differ := uint32(0), uint32(0)
	for i := range indices {
		var v uint32
		switch w {
		case 1:
			v = uint32(packed[i])
		case 2:
			v = uint32(binary.LittleEndian.Uint16(packed[2*i:]))
		default:
			v = binary.LittleEndian.Uint32(packed[4*i:])
		}
		indices[i] = v
		differ |= v ^ indices[0]
		if v > used {
			if v != used+1 {
				return false
			}
			used = v
		}
	}
	return used == uint32(size) && differ != 0
}

// readNames reads the four columns of names. Names come again in batch after
// batch, and are kept and compared for as long as their series live: so each is
// one string in the whole process, which is found equal without a look at it,
// and does not hold on to the batch that it came in first.
func (c *Columns) readNames(r *pack.Reader) {
	x := recalls.Get().(*recall)
	defer recalls.Put(x)
	for column, names := range [...]*Names{sourceStrings: &c.Source, entityStrings: &c.Entity, signalStrings: &c.Signal, peerStrings: &c.Peer} {
		list := names.Names
		*names = c.readStrings(r, &x.dicts[column], column, names.Index, c.Count, MaxName)
		names.Names = x.known[column].names(list[:0], names.Texts, x.dicts[column].hashes)
	}
}

// known are names that came in a column lately: to find one here takes a tenth of
// the time that the process's own set of them takes.
type known struct {
	slots []knownName // a power of two of them
}

type knownName struct {
	text string
	name Name
}

// maxKnown bounds the slots of a column, 24 KB.
const maxKnown = 1 << 10

// names appends the names of texts, of which the first is empty and the others
// have these hashes, and makes each text that of its name.
func (k *known) names(list []Name, texts []string, hashes []uint32) []Name {
	size := max(len(k.slots), 1)
	for size < 4*len(texts) && size < maxKnown {
		size *= 2
	}
	if size > len(k.slots) {
		k.slots = make([]knownName, size)
	}
	for i := range texts {
		slot := &k.slots[0]
		if i > 0 {
			slot = &k.slots[hashes[i-1]&uint32(len(k.slots)-1)]
		}
		if slot.text != texts[i] || slot.name == (Name{}) {
			name := unique.Make(texts[i])
			*slot = knownName{name.Value(), name}
		}
		list, texts[i] = append(list, slot.name), slot.text
	}
	return list
}

// readAttrs reads how many attributes each event has, all keys, and all values.
func (c *Columns) readAttrs(r *pack.Reader) {
	c.attrs, c.attrsTo = c.attrs[:0], c.attrsTo[:0]
	c.numbers = readColumn(r, "attribute counts", c.numbers, c.Count, false)
	if len(c.numbers) == 0 {
		return
	}
	c.attrsTo = sized(c.attrsTo, c.Count)
	total := 0
	for i, n := range c.numbers {
		if n > MaxAttrs {
			r.Fail("attribute counts", fmt.Errorf("%d attributes: limit %d", n, MaxAttrs))
			return
		}
		total += int(n)
		c.attrsTo[i] = uint32(total)
	}
	if total > MaxBatchAttrs {
		r.Fail("attribute counts", fmt.Errorf("%d attributes in all: limit %d", total, MaxBatchAttrs))
		return
	}
	c.attrs = sized(c.attrs, total)
	x := recalls.Get().(*recall)
	defer recalls.Put(x)
	keys := c.readStrings(r, &x.dicts[keyStrings], keyStrings, c.indices, total, MaxName)
	for i := range c.attrs {
		c.attrs[i].Key = keys.At(i)
	}
	values := c.readStrings(r, &x.dicts[valueStrings], valueStrings, keys.Index, total, MaxString)
	for i := range c.attrs {
		c.attrs[i].Value = values.At(i)
	}
	c.indices = values.Index
	if r.Err() != nil {
		return
	}
	from := uint32(0)
	for _, to := range c.attrsTo {
		for j := from + 1; j < to; j++ {
			if c.attrs[j-1].Key >= c.attrs[j].Key {
				r.Fail("attribute keys", fmt.Errorf("%q after %q, must be sorted without repetition", c.attrs[j].Key, c.attrs[j-1].Key))
				return
			}
		}
		from = to
	}
}
