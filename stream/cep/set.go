package cep

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"pando/internal/pack"
)

// Hash names what a pattern does. Patterns of equal hashes treat every event
// alike, so their runs can be exchanged; what a finding says is not part of it.
type Hash [32]byte

// Set holds patterns that are valid, with distinct names. It is immutable, and
// may be shared.
type Set struct {
	patterns []*Pattern
	hashes   []Hash
}

// NewSet checks the patterns and takes them over.
func NewSet(patterns []*Pattern) (*Set, error) {
	if len(patterns) > MaxPatterns {
		return nil, fmt.Errorf("%d patterns: want at most %d", len(patterns), MaxPatterns)
	}
	var faults []error
	s := &Set{patterns: patterns}
	names := make(map[string]bool, len(patterns))
	for _, p := range patterns {
		err := p.Validate()
		if err == nil && names[p.Name] {
			err = errors.New("another pattern has this name")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("pattern %q: %w", p.Name, err))
			continue
		}
		names[p.Name] = true
		w := pack.NewWriter()
		p.appendMeaning(w)
		s.hashes = append(s.hashes, sha256.Sum256(w.Bytes()))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// Patterns are those of the set, in the order of their definition. The caller
// must not change them.
func (s *Set) Patterns() []*Pattern { return s.patterns }

// Hash is that of the i-th pattern.
func (s *Set) Hash(i int) Hash { return s.hashes[i] }

// For returns the patterns that run on a tier.
func (s *Set) For(scope Scope) *Set {
	var t Set
	for i, p := range s.patterns {
		if p.Scope == scope {
			t.patterns = append(t.patterns, p)
			t.hashes = append(t.hashes, s.hashes[i])
		}
	}
	return &t
}
