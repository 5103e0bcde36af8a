// Package dial reaches HTTP servers the way a declared source asks for:
// certificates and proxy, credentials that go only where they were meant for,
// redirects that leak nothing, answers within bounds, and messages without
// secrets. The clients of registries, Helm repositories and object stores share
// it; what they say to the servers is theirs.
package dial
