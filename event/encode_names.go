package event

import "encoding/binary"

// The columns of strings.
const (
	sourceStrings = iota
	entityStrings
	signalStrings
	peerStrings
	keyStrings
	valueStrings
	stringColumns
)

// stringFields name them in errors.
var stringFields = [stringColumns]string{"source", "entity", "signal", "peer", "attribute key", "attribute value"}

// names writes the four columns of names, each with its dictionary.
func (e *Encoder) names(events []Event) {
	dict := e.open(sourceStrings)
	if e.shape.sources {
		for i := range events {
			n, ok := dict.recall(events[i].Source)
			if !ok {
				n = e.number(events[i].Source)
			}
			e.numbers = append(e.numbers, n)
		}
	}
	e.close()
	dict = e.open(entityStrings)
	if e.shape.entities {
		for i := range events {
			n, ok := dict.recall(events[i].Entity)
			if !ok {
				n = e.number(events[i].Entity)
			}
			e.numbers = append(e.numbers, n)
		}
	}
	e.close()
	dict = e.open(signalStrings)
	if e.shape.signals {
		for i := range events {
			n, ok := dict.recall(events[i].Signal)
			if !ok {
				n = e.number(events[i].Signal)
			}
			e.numbers = append(e.numbers, n)
		}
	}
	e.close()
	dict = e.open(peerStrings)
	if e.shape.peers {
		for i := range events {
			n, ok := dict.recall(events[i].Peer)
			if !ok {
				n = e.number(events[i].Peer)
			}
			e.numbers = append(e.numbers, n)
		}
	}
	e.close()
}

// number looks a string up that the memo does not know. The first string at
// fault sticks, so that the loops over events need not look.
func (e *Encoder) number(s string) uint32 {
	n, fresh := e.dict.number(s)
	if fresh && e.fault == nil {
		limit := MaxName
		if e.opened == valueStrings {
			limit = MaxString
		}
		e.fault = checkText(stringFields[e.opened], s, limit)
	}
	return n
}

// attrs writes the number of attributes of each event, then all keys, then
// all values.
func (e *Encoder) attrs(events []Event) {
	if column, listed := e.level(&e.shape.attrs); listed {
		for i := range events {
			column = appendUvarint(column, uint64(len(events[i].Attrs)))
		}
		e.bin(column)
	}
	if e.shape.attrCount == 0 {
		return
	}
	dict := e.open(keyStrings)
	for i := range events {
		for j := range events[i].Attrs {
			n, ok := dict.recall(events[i].Attrs[j].Key)
			if !ok {
				n = e.number(events[i].Attrs[j].Key)
			}
			e.numbers = append(e.numbers, n)
		}
	}
	e.close()
	dict = e.open(valueStrings)
	for i := range events {
		for j := range events[i].Attrs {
			n, ok := dict.recall(events[i].Attrs[j].Value)
			if !ok {
				n = e.number(events[i].Attrs[j].Value)
			}
			e.numbers = append(e.numbers, n)
		}
	}
	e.close()
}

// open begins a column of strings.
func (e *Encoder) open(column int) *memoized {
	e.numbers = e.numbers[:0]
	e.opened, e.dict = column, &e.dicts[column]
	e.dict.reset()
	return e.dict
}

// close writes the lengths of the dictionary's strings, the strings, and the
// numbers: none if all are 0, one if all are the same.
func (e *Encoder) close() {
	column := e.column[:0]
	for _, s := range e.dict.strings {
		column = appendUvarint(column, uint64(len(s)))
	}
	e.bin(column)
	column = e.column[:0]
	for _, s := range e.dict.strings {
		column = append(column, s...)
	}
	e.bin(column)

	numbers := e.numbers
	if same(numbers) {
		numbers = numbers[:min(1, len(numbers))]
	}
	column = e.column[:0]
	switch width(len(e.dict.strings)) {
	case 1:
		for _, n := range numbers {
			column = append(column, byte(n))
		}
	case 2:
		for _, n := range numbers {
			column = binary.LittleEndian.AppendUint16(column, uint16(n))
		}
	case 4:
		for _, n := range numbers {
			column = binary.LittleEndian.AppendUint32(column, n)
		}
	}
	e.bin(column)
	e.dict.reset() // the batch's strings are not ours to hold
}

func same(numbers []uint32) bool {
	for _, n := range numbers {
		if n != numbers[0] {
			return false
		}
	}
	return true
}
