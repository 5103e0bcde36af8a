// Package release is Helm's life cycle without the cluster: what its storage
// holds, and what is to be done next. The engine does it.
//
// Records. A [Record] is one revision of a release as Helm's storage holds it, in
// a Secret "sh.helm.release.v1.<name>.v<revision>" of type helm.sh/release.v1. A
// [Codec] writes and reads such Secrets, so that helm list, history, get, status,
// rollback and uninstall of Helm 3 and 4 accept ours, and ours theirs. The chart,
// which is most of a record, is prepared once for all releases of it ([Chart]).
// Records hold values and manifests, so they never print.
//
// Life of a record:
//
//	New(install|upgrade|rollback) ─▶ pending ─▶ Succeed ─▶ deployed ─▶ superseded
//	                                    └─────▶ Fail ────▶ failed
//	                 Uninstall ─▶ uninstalling ─▶ Uninstalled (kept, or deleted)
//
// Decision. [Next] says which [Action] is due, and [After] what it came to. Both
// are functions of [Facts] (what is wanted, and what the storage holds) and of a
// [State] (what the status tells), so that the loop of the engine is
//
//	s := release.Begin(spec)
//	for {
//		facts := gather(s.Target(spec))          // the records of that release
//		action, s = release.Next(facts, s)
//		if action.Kind == release.None { break } // until s.RetryAt, or news
//		if second { persist(s.Report) }          // between two actions
//		s = release.After(facts, s, action, carryOut(action))
//	}
//	persist(s.Report)
//
// and a test can play it against a storage of its own. The state of a release is
// found by named checks in a fixed order, the same as helm-controller's
// (internal/reconcile/state.go), and so are counters, conditions and messages
// (atomic_release.go).
//
// Crashes. Records that Plumb writes name the action they belong to
// ([ActionAnnotation]). A pending one of an action that is still wanted is carried
// on instead of being failed, so that no hook is missed; a complete one that the
// status does not know of yet is accounted for, as if it had ended just now. A
// pending record of somebody else is unlocked, as helm-controller does it.
package release
