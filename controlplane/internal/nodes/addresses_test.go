package nodes

import (
	"net/netip"
	"testing"
)

func TestEveryPodHasItsOwnAddress(t *testing.T) {
	pool := newAddressPool()
	pool.reserve("resumed", "10.128.0.1")
	pool.reserve("elsewhere", "192.0.2.1")
	first, second := pool.assign("first"), pool.assign("second")
	if first != "10.128.0.2" || second != "10.128.0.3" || pool.assign("first") != first || pool.assign("resumed") != "10.128.0.1" {
		t.Errorf("first %s, second %s, resumed %s", first, second, pool.assign("resumed"))
	}
	// A free address is not given away again at once, but when the turn comes.
	pool.release("first")
	if third := pool.assign("third"); third != "10.128.0.4" {
		t.Errorf("third %s", third)
	}
	pool.last = netip.MustParseAddr("10.255.255.255")
	if wrapped := pool.assign("fourth"); wrapped != first {
		t.Errorf("after the last address: %s", wrapped)
	}
}
