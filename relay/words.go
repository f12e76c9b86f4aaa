//go:build !zos

package relay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pando/internal/pack"
	"pando/transport"
	"pando/tree/status"
	"pando/tree/wire"
)

// words are what relays below said of themselves last. They travel on as they
// came, each in its relay's name, once a second.
type words struct {
	latest map[string]*word
	bytes  int
}

type word struct {
	doc    []byte
	report status.Report
	at     time.Time
	sent   bool
}

// maxWords bounds the bytes of these words, and maxWordRelays the relays. What
// is beyond is not shown to operators.
const (
	maxWords      = 64 << 20
	maxWordRelays = 4096
)

func newWords() words { return words{latest: map[string]*word{}} }

// put keeps a relay's word.
func (w *words) put(relay string, doc []byte) error {
	x := &word{doc: doc, at: time.Now()}
	if err := json.Unmarshal(doc, &x.report); err != nil {
		return fmt.Errorf("%w: status: %w", pack.ErrMalformed, err)
	}
	old := 0
	if was := w.latest[relay]; was != nil {
		old = len(was.doc)
	} else if len(w.latest) >= maxWordRelays {
		return nil
	}
	if w.bytes+len(doc)-old > maxWords {
		return nil
	}
	w.bytes += len(doc) - old
	w.latest[relay] = x
	return nil
}

// fresh returns what was not passed on yet, and forgets relays long gone.
func (w *words) fresh() (out []transport.Message) {
	for name, x := range w.latest {
		switch {
		case time.Since(x.at) > forgetAfter:
			w.bytes -= len(x.doc)
			delete(w.latest, name)
		case !x.sent:
			x.sent = true
			body := wire.Encode(&wire.Status{JSON: x.doc}).Body
			out = append(out, wire.Encode(&wire.Forward{Relay: name, Kind: wire.KindStatus, Body: body}))
		}
	}
	return out
}

// nodes are the relays below and their agents, for this relay's own API.
func (w *words) nodes() (list []status.Node) {
	for name, x := range w.latest {
		n := x.report.Node
		n.Name, n.Role = name, string(transport.RoleRelay)
		children := slices.Clone(x.report.Children)
		if time.Since(x.at) > silentAfter {
			n.State = "silent"
			for i := range children {
				children[i].State = "silent"
			}
		}
		list = append(append(list, n), children...)
	}
	slices.SortFunc(list, func(a, b status.Node) int { return cmp.Or(cmp.Compare(b.Role, a.Role), cmp.Compare(a.Name, b.Name)) })
	return list
}
