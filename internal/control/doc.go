// Package control joins the engine to a cluster: it watches declared objects,
// gathers the facts that a dialect asks for, hands intents to the engine, and
// writes what the dialects project of its reports. It owns everything that
// exists once per process: the lease, the key of digests, the server for
// artifacts and metrics.
//
// Files: control.go wires and runs; declared.go follows declared objects;
// facts.go the objects they refer to; status.go writes statuses and events;
// takeover.go keeps out of the way of living upstream controllers; kinds.go
// installs custom resource definitions.
package control
