// Package journal keeps what Plumb must not forget over a restart and what
// Kubernetes does not hold: the baselines of managed objects, small facts about
// each delivery, and the history of its runs. It is a single SQLite database.
//
// A baseline that is lost costs one dry run, so that the journal trades
// durability for quiet: calls that write return at once, one background writer
// puts them into batched transactions, and what a kill or power cut takes away
// is at most the last batch. What is stored is therefore never newer than what
// the caller had seen, and may be older.
//
// The journal holds no secrets: digests of secret material are keyed by the
// caller, and messages are free of it.
//
// journaltest has the conformance suite that every implementation passes.
package journal
