package event

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pando/internal/pack"
)

// strings reads a column of n strings of at most limit bytes each. It returns
// the dictionary, "" first, and each entry's index into it; no indices if all
// entries are empty.
func (d *Decoder) strings(r *pack.Reader, column int, n, limit int) (texts []string, indices []uint32) {
	field := stringFields[column]
	lengths := r.Bin(field, MaxBatchBytes)
	text := string(r.Bin(field, MaxBatchBytes))
	packed := r.Bin(field, MaxBatchBytes)
	if r.Err() != nil {
		return nil, nil
	}
	if err := d.dictionary(&d.dicts[column], field, lengths, text, limit); err != nil {
		r.Fail(field, err)
		return nil, nil
	}
	size := len(d.texts) - 1
	if size == 0 && len(packed) == 0 {
		return d.texts, nil
	}
	if cap(d.indices) < n {
		d.indices = make([]uint32, n)
	}
	d.indices = d.indices[:n]
	if !unpack(d.indices, packed, size) {
		r.Fail(field, errors.New("indices not those of the dictionary in the order of first use"))
		return nil, nil
	}
	return d.texts, d.indices
}

// dictionary splits text into distinct strings, after the empty one.
func (d *Decoder) dictionary(dict *dictionary, field string, lengths []byte, text string, limit int) error {
	dict.reset()
	d.texts = append(d.texts[:0], "")
	for at := 0; at < len(lengths); {
		n, next := uvarint(lengths, at)
		switch {
		case next == 0:
			return errNotCanonical
		case n == 0 || n > uint64(limit):
			return fmt.Errorf("string of %d bytes: must be 1 to %d", n, limit)
		case n > uint64(len(text)):
			return fmt.Errorf("string of %d bytes announced, %d there", n, len(text))
		}
		s := text[:n]
		if err := checkText(field, s, limit); err != nil {
			return err
		}
		if _, fresh := dict.number(s); !fresh {
			return fmt.Errorf("string %.40q repeated", s)
		}
		d.texts = append(d.texts, s)
		text, at = text[n:], next
	}
	if text != "" {
		return fmt.Errorf("%d bytes left over after the strings", len(text))
	}
	return nil
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

// names reads the four columns of names.
func (d *Decoder) names(r *pack.Reader) {
	events := d.events
	texts, indices := d.strings(r, sourceStrings, len(events), MaxName)
	for i, n := range indices {
		events[i].Source = texts[n]
	}
	texts, indices = d.strings(r, entityStrings, len(events), MaxName)
	for i, n := range indices {
		events[i].Entity = texts[n]
	}
	texts, indices = d.strings(r, signalStrings, len(events), MaxName)
	for i, n := range indices {
		events[i].Signal = texts[n]
	}
	texts, indices = d.strings(r, peerStrings, len(events), MaxName)
	for i, n := range indices {
		events[i].Peer = texts[n]
	}
}

// attrs reads how many attributes each event has, all keys, and all values.
func (d *Decoder) attrs(r *pack.Reader) {
	counts := d.column(r, "attribute counts", len(d.events), false)
	if counts == nil {
		return
	}
	total := 0
	for _, n := range counts {
		if n > MaxAttrs {
			r.Fail("attribute counts", fmt.Errorf("%d attributes: limit %d", n, MaxAttrs))
			return
		}
		total += int(n)
	}
	if total > MaxBatchAttrs {
		r.Fail("attribute counts", fmt.Errorf("%d attributes in all: limit %d", total, MaxBatchAttrs))
		return
	}
	if cap(d.arena) < total {
		d.arena = make([]Attr, total)
	}
	d.arena = d.arena[:total]
	clear(d.arena)
	texts, indices := d.strings(r, keyStrings, total, MaxName)
	for i, n := range indices {
		d.arena[i].Key = texts[n]
	}
	texts, indices = d.strings(r, valueStrings, total, MaxString)
	for i, n := range indices {
		d.arena[i].Value = texts[n]
	}
	if r.Err() != nil {
		return
	}
	at := 0
	for i, n := range counts {
		if n == 0 {
			continue
		}
		attrs := d.arena[at : at+int(n) : at+int(n)]
		for j := 1; j < len(attrs); j++ {
			if attrs[j-1].Key >= attrs[j].Key {
				r.Fail("attribute keys", fmt.Errorf("%q after %q, must be sorted without repetition", attrs[j].Key, attrs[j-1].Key))
				return
			}
		}
		d.events[i].Attrs = attrs
		at += int(n)
	}
}
