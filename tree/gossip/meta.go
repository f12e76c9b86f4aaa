//go:build !zos

package gossip

import (
	"errors"
	"fmt"
	"math"

	"github.com/hashicorp/memberlist"

	"pando/internal/pack"
)

// Role is what a member of a pool does in the tree.
type Role string

const (
	Relay Role = "relay"
	Root  Role = "root"
)

// Meta is what a member tells of itself. It is advice: a peer's authority
// comes from its certificate.
type Meta struct {
	Role   Role
	Region string
	Addr   string // host:port of its transport
	API    string // host:port of its HTTP endpoint, or empty
	Weight uint32 // share of the agents, see placement.Relay; 0 while it drains
	Full   bool   // accepts no more children
	RaftID string // a root's Raft server id, else empty
	Raft   string // host:port of a root's Raft listener, else empty
}

// Limits of the encoded form. Together the texts may still exceed what a
// gossip message carries, hence maxMeta on the whole.
const (
	metaVersion = 1
	metaFields  = 9
	maxText     = 255                    // of one text; a DNS name has at most 253 bytes
	maxMeta     = memberlist.MetaMaxSize // 512 bytes; the library panics above it
)

// ErrMeta is wrapped by the errors about a [Meta] that cannot travel: a field
// is missing or too long, or the whole is.
var ErrMeta = errors.New("unusable meta")

func (m Meta) validate() error {
	var faults []error
	if m.Role != Relay && m.Role != Root {
		faults = append(faults, fmt.Errorf("role %q is neither %q nor %q", m.Role, Relay, Root))
	}
	if m.Region == "" {
		faults = append(faults, errors.New("region is empty"))
	}
	if m.Addr == "" {
		faults = append(faults, errors.New("transport address is empty"))
	}
	for _, text := range []struct{ name, value string }{
		{"region", m.Region}, {"transport address", m.Addr}, {"API address", m.API},
		{"raft id", m.RaftID}, {"raft address", m.Raft},
	} {
		if len(text.value) > maxText {
			faults = append(faults, fmt.Errorf("%s has %d bytes, at most %d are allowed", text.name, len(text.value), maxText))
		}
	}
	return errors.Join(faults...)
}

// encode returns the bytes of m, at most maxMeta of them.
func (m Meta) encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("encode meta: %w: %w", ErrMeta, err)
	}
	w := pack.NewWriter()
	w.Array(metaFields)
	w.Uint(metaVersion)
	w.String(string(m.Role))
	w.String(m.Region)
	w.String(m.Addr)
	w.String(m.API)
	w.Uint(uint64(m.Weight))
	w.Bool(m.Full)
	w.String(m.RaftID)
	w.String(m.Raft)
	if w.Len() > maxMeta {
		return nil, fmt.Errorf("encode meta: %w: %d bytes in all, at most %d are allowed: shorten names or addresses", ErrMeta, w.Len(), maxMeta)
	}
	return w.Copy(), nil
}

// decodeMeta reads what encode wrote. It accepts nothing that encode refuses.
func decodeMeta(b []byte) (Meta, error) {
	if len(b) > maxMeta {
		return Meta{}, fmt.Errorf("decode meta: %w: %d bytes, at most %d are allowed", ErrMeta, len(b), maxMeta)
	}
	r := pack.NewReader(b)
	fields := r.Array("meta", metaFields)
	if v := r.Uint("version", math.MaxUint64); r.Err() == nil && (v != metaVersion || fields != metaFields) {
		return Meta{}, fmt.Errorf("decode meta: %w: version %d with %d fields, this build knows version %d with %d", ErrMeta, v, fields, metaVersion, metaFields)
	}
	m := Meta{
		Role:   Role(r.String("role", maxText)),
		Region: r.String("region", maxText),
		Addr:   r.String("addr", maxText),
		API:    r.String("api", maxText),
		Weight: uint32(r.Uint("weight", math.MaxUint32)),
		Full:   r.Bool("full"),
		RaftID: r.String("raft id", maxText),
		Raft:   r.String("raft", maxText),
	}
	if err := r.Done(); err != nil {
		return Meta{}, fmt.Errorf("decode meta: %w: %w", ErrMeta, err)
	}
	if err := m.validate(); err != nil {
		return Meta{}, fmt.Errorf("decode meta: %w: %w", ErrMeta, err)
	}
	return m, nil
}
