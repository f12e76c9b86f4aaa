// Package tap lets people watch what passes a node, live. Watching never
// slows the node: who reads too slowly misses items, and is told how many.
package tap

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"pando/event"
	"pando/stream"
)

// Item is one thing that passed.
type Item struct {
	Node     string  `json:"node"`
	What     string  `json:"what"` // event, finding, section
	Time     string  `json:"time"` // RFC 3339, UTC: the best estimate of when it happened
	Unit     string  `json:"unit,omitempty"`
	Seq      uint64  `json:"seq,omitempty"`
	Source   string  `json:"source,omitempty"`
	Entity   string  `json:"entity"`
	Signal   string  `json:"signal"`
	Value    float64 `json:"value,omitempty"`
	Severity int     `json:"severity,omitempty"`
	Level    int     `json:"criticality"`
	Peer     string  `json:"peer,omitempty"`
	Text     string  `json:"text,omitempty"`
	Missed   uint64  `json:"missed,omitempty"` // items this reader missed before this one
}

// Filter chooses items. Patterns are those of the detectors, see
// [stream.Match].
type Filter struct {
	Entity, Signal string // empty: all
	MinSeverity    int
}

func (f Filter) match(it *Item) bool {
	return it.Severity >= f.MinSeverity && stream.Match(f.Entity, it.Entity) && stream.Match(f.Signal, it.Signal)
}

const (
	// buffer is how many items wait for one reader.
	buffer = 1024
	// maxReaders bounds the readers of a node.
	maxReaders = 32
)

// Hub hands items to readers. Its zero value is ready; it is safe for
// concurrent use.
type Hub struct {
	readers atomic.Int32 // so that publishing to nobody costs one load
	mu      sync.Mutex
	subs    map[*reader]struct{}
}

type reader struct {
	filter Filter
	items  chan Item
	missed atomic.Uint64
}

// Watched reports whether anybody reads; building an item may be skipped if
// nobody does.
func (h *Hub) Watched() bool { return h.readers.Load() > 0 }

// Publish hands an item to all readers it matters to.
func (h *Hub) Publish(it Item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.subs {
		if !r.filter.match(&it) {
			continue
		}
		select {
		case r.items <- it:
		default:
			r.missed.Add(1)
		}
	}
}

var errBusy = errors.New("too many readers tap this node")

func (h *Hub) subscribe(f Filter) (*reader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subs) >= maxReaders {
		return nil, errBusy
	}
	if h.subs == nil {
		h.subs = map[*reader]struct{}{}
	}
	r := &reader{filter: f, items: make(chan Item, buffer)}
	h.subs[r] = struct{}{}
	h.readers.Add(1)
	return r, nil
}

func (h *Hub) leave(r *reader) {
	h.mu.Lock()
	delete(h.subs, r)
	h.mu.Unlock()
	h.readers.Add(-1)
}

// ServeHTTP streams items as JSON lines until the client leaves. Query:
// entity, signal, severity.
func (h *Hub) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	f := Filter{Entity: q.Get("entity"), Signal: q.Get("signal")}
	if s := q.Get("severity"); s != "" {
		if _, err := fmt.Sscanf(s, "%d", &f.MinSeverity); err != nil {
			http.Error(w, "severity: want a number from 0 to 24", http.StatusBadRequest)
			return
		}
	}
	r, err := h.subscribe(f)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	}
	defer h.leave(r)
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{}) // a stream has no end
	enc := json.NewEncoder(w)
	_ = out.Flush()
	for {
		select {
		case <-req.Context().Done():
			return
		case it := <-r.items:
			it.Missed = r.missed.Swap(0)
			if enc.Encode(it) != nil || out.Flush() != nil {
				return
			}
		}
	}
}

// Event is the item of an event whose best estimate of root time is point.
func Event(node string, u event.Unit, e *event.Event, point int64) Item {
	it := Item{Node: node, What: "event", Time: Time(point), Unit: u.String(), Seq: e.Seq, Source: e.Source,
		Entity: e.Entity, Signal: e.Signal, Value: e.Value, Severity: int(e.Severity), Level: int(e.Criticality), Peer: e.Peer}
	for _, a := range e.Attrs {
		if a.Key == "body" || a.Key == "log.body" {
			it.Text = a.Value
		}
	}
	return it
}

// Time formats root time for people.
func Time(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
