// Package ops is what operators see of a running node: structured logs, the
// HTTP endpoints for health, readiness and metrics, and the version of the
// binary.
//
// It gives loggers and registries to whoever asks and keeps none for itself:
// there is no global state, so a process may run many nodes side by side. It
// assumes that checks and handlers return when their context ends, and knows
// nothing of events, custody or Raft.
package ops
