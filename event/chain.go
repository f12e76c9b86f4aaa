package event

import "crypto/sha256"

// Chain continues the chain over a unit's batches: SHA-256 of the value
// before the batch and the batch's encoded bytes. The chain before a unit's
// first batch is the zero Hash. One value proves every batch up to it.
func Chain(prev Hash, batch []byte) Hash {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(batch)
	var next Hash
	h.Sum(next[:0])
	return next
}
