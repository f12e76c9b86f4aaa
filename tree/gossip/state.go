//go:build !zos

package gossip

import (
	"errors"
	"fmt"
	"io/fs"

	"pando/internal/durable"
	"pando/internal/pack"
)

// Limits and names of the state file.
const (
	stateMagic   = "pando gossip state"
	stateVersion = 1
	maxState     = 1 << 17 // bytes; maxPeers entries of the longest names take less
)

var errState = errors.New("unusable gossip state")

// peer is where a member of the pool was last seen.
type peer struct {
	Name string
	Addr string // ip:port of its gossip
}

// encodeState lists peers, the most recently seen last.
func encodeState(pool string, peers []peer) []byte {
	w := pack.NewWriter()
	w.Array(4)
	w.String(stateMagic)
	w.Uint(stateVersion)
	w.String(pool)
	w.Array(len(peers))
	for _, p := range peers {
		w.String(p.Name)
		w.String(p.Addr)
	}
	return w.Copy()
}

func decodeState(pool string, b []byte) ([]peer, error) {
	r := pack.NewReader(b)
	r.Array("state", 4)
	if magic := r.String("magic", len(stateMagic)); r.Err() == nil && magic != stateMagic {
		return nil, fmt.Errorf("decode state: %w: it does not begin with %q", errState, stateMagic)
	}
	if v := r.Uint("version", 1<<32); r.Err() == nil && v != stateVersion {
		return nil, fmt.Errorf("decode state: %w: version %d, this build knows %d", errState, v, stateVersion)
	}
	if of := r.String("pool", maxPool); r.Err() == nil && of != pool {
		return nil, fmt.Errorf("decode state: %w: it belongs to pool %q, not %q", errState, of, pool)
	}
	n := r.Array("peers", maxPeers)
	peers := make([]peer, 0, n)
	for range n {
		p := peer{Name: r.String("name", maxName), Addr: r.String("addr", maxText)}
		if r.Err() != nil {
			break
		}
		peers = append(peers, p)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("decode state: %w: %w", errState, err)
	}
	return peers, nil
}

// readState returns the peers in the file; a file that is not there has none.
func readState(path, pool string) ([]peer, error) {
	b, err := durable.ReadFile(durable.OS(), path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	peers, err := decodeState(pool, b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return peers, nil
}
