//go:build !zos

package root

import (
	"pando/event"
	"pando/incident"
	"pando/transport"
	"pando/tree/custody"
	"pando/tree/wire"
)

// What follows is for a program that drives the state machine by commands of
// its own, as the simulation does.

// Command makes a request of a relay into a command, stamped with root time.
func Command(now int64, relay string, m transport.Message) ([]byte, error) {
	return commandOf(now, request{relay: relay, body: m})
}

// Answer makes what [FSM.Apply] returned for a request's command into its
// answer. Every request begins with its id, and so does the answer.
func Answer(m transport.Message, value any) (transport.Message, error) {
	id, err := idOf(m.Body)
	if err != nil {
		return transport.Message{}, err
	}
	return answerTo(request{id: id, body: m}, value)
}

// TickCommand lets time pass, MarkCommand has members compare their states,
// and VoteCommand is a member's word on that.
func TickCommand(now int64) []byte { return tickCommand(now) }

// MarkCommand has so many members compare their states.
func MarkCommand(now int64, members int) []byte { return markCommand(now, members) }

// VoteCommand is a member's hash at a mark.
func VoteCommand(now int64, member string, number uint64, hash event.Hash) []byte {
	return voteCommand(now, member, number, hash)
}

// Mark is the newest mark and the state's hash there; number 0 means none.
func (f *FSM) Mark() (number uint64, hash event.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.mark.number, f.state.mark.hash
}

// Output chains the results of all commands so far.
func (f *FSM) Output() event.Hash {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.output
}

// Owner is who may settle a unit, and how far it is settled.
func (f *FSM) Owner(id event.Unit) (custody.Owner, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.state.getUnit(id)
	return u.owner, ok
}

// Settled answers a question for units, as it stands here.
func (f *FSM) Settled(units []event.Unit) []wire.Judgement { return f.view().settledUnits(units) }

// Units, Series and Accounts are what [Root.Units], [Root.Series] and
// [Root.Ledger] read, as it stands here.
func (f *FSM) Units() []Unit { return f.view().listUnits() }

// Series returns all series, by entity and signal.
func (f *FSM) Series() []Series { return f.view().listSeries() }

// Incident is what [Root.Incident] reads, and Changes are those of incidents
// that are kept, as it stands here.
func (f *FSM) Incident(id string) (incident.Detail, error) { return f.view().incident(id) }

// Changes returns them, oldest first.
func (f *FSM) Changes() []Change { return f.view().changes }

// Accounts is the ledger without the agents' own reports.
func (f *FSM) Accounts() []Account { return accounts(f.view(), nil) }
