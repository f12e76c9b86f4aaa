// Package sim lets whole trees live through faults in virtual time, on one
// goroutine, by a seed, in the spirit of FoundationDB's simulation and of
// TigerBeetle's VOPR.
//
// What runs are the product's own values: the cores of agent and relay, the
// agent's batching and handover, the relay's packing of messages, the root's
// state machine and commands, batches and messages in their real encoding,
// placement, backoff and clocks. What is simulated is what lies around them:
//
//	plan      what a seed decides: the tree, what its sources say, the faults
//	world     virtual time and what is to happen next
//	tape      a journal on a disk that stalls, fails, fills up, loses, rolls back
//	network   sessions over ways that delay, are cut one way, and break
//	group     consensus: logs of their own, elections, lost and late messages
//	oracle    what really happened: every batch, every line, root time
//	ledger    what the roots must hold in the end
//
// Consensus and gossip are modelled because the real libraries are not
// reproducible by seed; the real log on a faulty disk, and the goroutines of the
// roles, are tested beside their code.
//
// [Run] runs a seed, checks every invariant, and runs the plan once more without
// its faults: what relays find then is what they may find. A seed gives the same
// trace hash each time.
//
// What it does not judge: an agent whose events no root time could be given to
// (its machine was booted anew, or its region had no root) may show a backlog as
// a rush; a change of leader shifts root time by the new leader's error, which
// the intervals of that moment do not contain.
package sim
