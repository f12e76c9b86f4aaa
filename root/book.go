//go:build !zos

package root

import (
	"fmt"
	"slices"
	"strings"

	"pando/internal/pack"
)

// The address book says where the roots are: who was added later, or has
// moved, stands in no configuration file of the others. Each root tells the
// leader its own addresses, and the leader enters them.

// bookOrder sorts by name.
func bookOrder(s Server, name string) int { return strings.Compare(s.Name, name) }

// enter puts a root's addresses into the book. Frozen copies share the old
// list, so it is never changed in place.
func (s *state) enter(server Server) bool {
	at, known := slices.BinarySearchFunc(s.book, server.Name, bookOrder)
	if !known && len(s.book) >= maxMembers {
		s.counts.Nodes++
		return false
	}
	next := slices.Clone(s.book)
	if known {
		next[at] = server
	} else {
		next = slices.Insert(next, at, server)
	}
	s.book = next
	return true
}

// strike takes a root out of the book.
func (s *state) strike(name string) {
	if at, known := slices.BinarySearchFunc(s.book, name, bookOrder); known {
		s.book = slices.Delete(slices.Clone(s.book), at, at+1)
	}
}

// stepGroup applies the commands about the group itself.
func (f *FSM) stepGroup(kind uint8, r *pack.Reader) result {
	s := f.state
	var server Server
	name := ""
	switch kind {
	case cmdServer:
		server = readServer(r)
	case cmdForget:
		name = r.String("name", maxName)
	}
	if err := r.Done(); err != nil {
		s.counts.Malformed++
		return result{fault: err.Error()}
	}
	switch kind {
	case cmdServer:
		s.enter(server)
	case cmdForget:
		s.strike(name)
	case cmdRestored:
		s.restores++
		return result{}
	}
	f.booked()
	return result{}
}

// booked tells who looks addresses up that the book may have changed.
func (f *FSM) booked() {
	if f.hooks.Booked != nil {
		f.hooks.Booked(f.state.book)
	}
}

func serverCommand(now int64, s Server) []byte {
	w := command(cmdServer, now)
	appendServer(w, s)
	return w.Bytes()
}

func forgetCommand(now int64, name string) []byte {
	w := command(cmdForget, now)
	w.String(name)
	return w.Bytes()
}

func restoredCommand(now int64) []byte { return command(cmdRestored, now).Bytes() }

func appendServer(w *pack.Writer, s Server) {
	w.String(s.Name)
	w.String(s.Raft)
	w.String(s.Addr)
	w.String(s.API)
}

// readServer reads a root's addresses; the last two may be empty.
func readServer(r *pack.Reader) Server {
	s := Server{Name: r.String("name", maxName), Raft: r.String("raft address", maxName), Addr: r.String("address", maxName), API: r.String("api", maxName)}
	if r.Err() == nil && s.Name == "" {
		r.Fail("name", fmt.Errorf("it is empty"))
	}
	return s
}

// appendGroup writes the header's part about the group.
func (h *header) appendGroup(w *pack.Writer) {
	w.Uint(h.restores)
	w.Array(len(h.book))
	for _, s := range h.book {
		appendServer(w, s)
	}
}

func (h *header) readGroup(r *pack.Reader) {
	h.restores = r.Uint("restores", 1<<64-1)
	last := ""
	for n := r.Array("roots", maxMembers); n > 0 && r.Err() == nil; n-- {
		s := readServer(r)
		if s.Name <= last {
			r.Fail("roots", fmt.Errorf("%q is not behind %q", s.Name, last))
		}
		last = s.Name
		h.book = append(h.book, s)
	}
}
