// Package gate turns rules into verdicts: whether a delivery may sync at a
// moment (Windows, MayGoOn), and whether it may write an object at all
// (Permits). The rules are those of Argo CD's AppProject. Everything is pure:
// the moment is handed in, and nothing is asked.
package gate
