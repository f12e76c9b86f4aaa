package drain

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"pando/internal/pack"
)

const snapshotVersion = 1

// Snapshot writes the whole state: equal states have equal bytes. A miner of
// the same configuration that restores it goes on identically.
func (m *Miner) Snapshot(w *pack.Writer) {
	w.Uint(snapshotVersion)
	w.Uint(m.other)
	w.Array(len(m.templates))
	for _, t := range m.templates {
		w.String(t.id)
		w.Array(len(t.first))
		for _, word := range t.first {
			w.String(word)
		}
		w.Array(len(t.words))
		for _, word := range t.words {
			w.String(word)
		}
	}
}

// Restore replaces the state by what [Miner.Snapshot] wrote; after an error
// the miner is as before. Of more templates than the configuration allows the
// oldest stay.
func (m *Miner) Restore(r *pack.Reader) error {
	fresh, err := New(m.cfg)
	if err != nil {
		return err
	}
	if v := r.Uint("version", math.MaxUint64); v != snapshotVersion && r.Err() == nil {
		r.Fail("version", fmt.Errorf("%d is unknown, %d is understood", v, snapshotVersion))
	}
	fresh.other = r.Uint("other", math.MaxUint64)
	for n := r.Array("templates", MaxTemplates); n > 0 && r.Err() == nil; n-- {
		if t := readTemplate(r); r.Err() == nil && len(fresh.templates) < m.cfg.MaxTemplates {
			fresh.insert(t)
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("restore templates: %w", err)
	}
	*m = *fresh
	return nil
}

func readTemplate(r *pack.Reader) *Template {
	t := &Template{id: r.String("id", 2*idBytes)}
	if raw, err := hex.DecodeString(t.id); r.Err() == nil && (err != nil || len(raw) != idBytes || hex.EncodeToString(raw) != t.id) {
		r.Fail("id", fmt.Errorf("%q: want %d hexadecimal digits", t.id, 2*idBytes))
	}
	t.first = readWords(r, "first words", prefixWords)
	t.words = readWords(r, "words", maxWords)
	if r.Err() == nil && len(t.first) != min(prefixWords, len(t.words)) {
		r.Fail("first words", errors.New("not as many as the tree has levels for"))
	}
	t.join()
	if limit := maxText + maxWords*len(wildcard); r.Err() == nil && len(t.text) > limit {
		r.Fail("words", fmt.Errorf("%d bytes are above the limit of %d", len(t.text), limit))
	}
	return t
}

func readWords(r *pack.Reader, field string, limit int) []string {
	var words []string
	for n := r.Array(field, limit); n > 0 && r.Err() == nil; n-- {
		words = append(words, r.String(field, maxText))
	}
	return words
}
