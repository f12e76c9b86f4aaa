//go:build !zos

package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
)

func TestLoadKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	load := func(text string) ([][]byte, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadKeys(path)
	}
	want := [][]byte{NewKey(), NewKey()}
	got, err := load("# gossip, core pool\n\n" + string(FormatKeys(want)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("keys %v, error %v", got, err)
	}
	good := strings.TrimSpace(string(FormatKeys(want[:1])))
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"# only a comment\n", "there is none"},
		"not base64":      {good + "\nsecret!\n", "line 2 is not standard base64"},
		"short":           {"\n" + good[:40] + "\n", "line 2 holds 30 bytes"},
		"twice":           {good + "\n" + good + "\n", "key 2 is there twice"},
		"too many":        {string(FormatKeys(manyKeys(9))), "more than 8 keys"},
		"too much":        {strings.Repeat("#", maxKeysFile+1), "more than 65536 bytes"},
		"two on a line":   {good + " " + good + "\n", "line 1"},
		"trailing bits":   {good[:42] + "b=\n", "line 1 is not"},
		"carriage return": {good + "\r\n" + good[:40] + "\r\n", "line 2 holds"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(c.text)
			if !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one that says %q and names the file", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), good[:8]) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
	if _, err := LoadKeys(path + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func manyKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = bytes.Repeat([]byte{byte(i)}, keySize)
	}
	return keys
}

// Whatever the old ring held, the new one holds exactly the given keys, the
// first of them primary. The reader is for the race detector: packets are
// decrypted with the keys of a list while the ring changes.
func TestSetRing(t *testing.T) {
	all := manyKeys(5)
	for _, from := range [][]int{{0}, {0, 1, 2, 3}, {4, 3, 2, 1, 0}} {
		for _, to := range [][]int{{0}, {1, 0}, {4}, {2, 4, 0}, {0, 1, 2, 3, 4}} {
			ring, err := newRing(pick(all, from))
			if err != nil {
				t.Fatal(err)
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
						holds(ring.GetKeys(), nil)
					}
				}
			}()
			for range 20 {
				err = errors.Join(err, setRing(ring, pick(all, from)), setRing(ring, pick(all, to)))
			}
			close(stop)
			<-stopped
			if err != nil {
				t.Fatal(err)
			}
			after := ring.GetKeys()
			if !bytes.Equal(after[0], all[to[0]]) || len(after) != len(to) {
				t.Errorf("from %v to %v: the ring holds %v", from, to, first(after))
			}
			for _, i := range to {
				if !holds(after, all[i]) {
					t.Errorf("from %v to %v: key %d is missing", from, to, i)
				}
			}
		}
	}
}

func pick(keys [][]byte, indexes []int) [][]byte {
	var out [][]byte
	for _, i := range indexes {
		out = append(out, keys[i])
	}
	return out
}

func first(keys [][]byte) (out []byte) {
	for _, k := range keys {
		out = append(out, k[0])
	}
	return out
}

func TestStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if peers, err := readState(path, "eu"); err != nil || peers != nil {
		t.Fatalf("a file that is not there: %v, %v", peers, err)
	}
	var want []peer
	for i := range maxPeers {
		want = append(want, peer{Name: fmt.Sprintf("%0*d", maxName, i), Addr: strings.Repeat("a", maxText)})
	}
	if b := encodeState("eu", want); len(b) > maxState {
		t.Fatalf("the longest state has %d bytes, above the limit of %d", len(b), maxState)
	}
	if err := os.WriteFile(path, encodeState("eu", want), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readState(path, "eu"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %d peers, error %v", len(got), err)
	}
	if _, err := readState(path, "us"); !errors.Is(err, errState) || !strings.Contains(err.Error(), path) {
		t.Errorf("another pool's file: %v", err)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, "n1", func(o *Options) { o.StateFile = path }) // hints only: it starts all the same
	n.sees(t, "n1")
}

func TestPeersAreBoundedNewestLast(t *testing.T) {
	metrics, err := newMetrics(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	meta, err := Meta{Role: Root, Region: "eu", Addr: "a:1"}.encode()
	if err != nil {
		t.Fatal(err)
	}
	logger := start(t, "host").logger
	r := newRoster("self", meta, nil, logger, newRefusals(metrics.refused, logger), metrics)
	see := func(i int) *memberlist.Node {
		n := &memberlist.Node{Name: fmt.Sprintf("n%d", i), Addr: []byte{10, 0, byte(i >> 8), byte(i)}, Port: 1, Meta: meta}
		if r.NotifyAlive(n) == nil {
			r.NotifyJoin(n)
		}
		return n
	}
	for i := range maxMembers + 10 {
		see(i)
	}
	if got := len(r.snapshot()); got != maxMembers {
		t.Errorf("%d members, want the limit of %d", got, maxMembers)
	}
	r.NotifyLeave(see(0))
	lost, _ := r.lost()
	if len(lost) != 1 || lost[0] != "10.0.0.0:1" {
		t.Errorf("lost %v, want the member that left last", lost)
	}
	peers := r.remembered()
	if len(peers) != maxPeers || peers[0].Name != "n0" {
		t.Errorf("%d peers, the first is %s; want %d, the lost one first", len(peers), peers[0].Name, maxPeers)
	}
}

func FuzzMeta(f *testing.F) {
	for _, m := range []Meta{
		{Role: Relay, Region: "eu", Addr: "a:1"},
		{Role: Root, Region: "eu", Addr: "10.0.0.1:7000", API: "x:2", Weight: 1 << 31, Full: true, RaftID: "r1", Raft: "y:3"},
	} {
		b, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			if !errors.Is(err, ErrMeta) {
				t.Fatalf("error without its sentinel: %v", err)
			}
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatalf("decoded %+v, which does not encode: %v", m, err)
		}
		if back, err := decodeMeta(again); err != nil || back != m {
			t.Fatalf("%+v became %+v, error %v", m, back, err)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(encodeState("eu", []peer{{"n1", "10.0.0.1:1"}, {"n2", "10.0.0.2:1"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		peers, err := decodeState("eu", b)
		if err != nil {
			return
		}
		if back, err := decodeState("eu", encodeState("eu", peers)); err != nil || len(back) != len(peers) {
			t.Fatalf("%v became %v, error %v", peers, back, err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("# comment\n" + string(FormatKeys(manyKeys(2)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseKeys(b)
		if err != nil {
			return
		}
		if back, err := parseKeys(FormatKeys(keys)); err != nil || !reflect.DeepEqual(back, keys) {
			t.Fatalf("%v became %v, error %v", keys, back, err)
		}
	})
}
