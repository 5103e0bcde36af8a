// Package status writes the status of an Application as Argo CD does, out of
// reports: what was compared, every object with its state and health, the last
// operation, the history, and conditions for what is wrong.
//
// It is written only when something changed that a reader cares for. Times
// stay while what they date stays, and a report that tells nothing new leaves
// the object alone. An Application has no status subresource and must fit into
// etcd, so that a status which grows too large loses what can be found
// elsewhere first, and says so.
package status
