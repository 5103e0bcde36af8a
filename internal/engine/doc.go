// Package engine keeps deliveries true. It holds the book of everything that
// is declared and everything that is managed, and one loop: whatever is
// observed (a declaration, a commit, a fact, a watch event, a timer) puts a
// delivery into the queue, and a run takes it through the same named phases:
//
//	resolve   the source's tree, the target, the identity
//	evaluate  tree → desired objects, remembered by what was read
//	depend    wait until the deliveries it depends on are ready
//	observe   look at objects of which nothing is known
//	plan      desired against known → waves of changes
//	apply     wave by wave, in parallel, as the delivery's identity
//	prune     what nobody wants any more
//	settle    wait for health, without holding a worker
//	report    one account of all of it
//
// A run that has nothing to do makes no request. A run derives everything from
// what is observed, so that it can be killed anywhere and started again.
//
// Files: book.go is the state and its one lock; sources.go the looks at
// repositories; run.go the phases; apply.go the writes; remove.go the end of a
// delivery; ledger.go what is known of managed objects and how watch events are
// judged; standing.go who owns and wants what; settle.go health.
package engine
