package nodes

import (
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// podNetwork is one flat network for all nodes; nothing routes to it.
var podNetwork = netip.MustParsePrefix("10.128.0.0/9")

// addressPool gives every pod an address of its own while it lives.
type addressPool struct {
	mu    sync.Mutex
	byPod map[types.UID]netip.Addr
	taken map[netip.Addr]bool
	last  netip.Addr
}

func newAddressPool() *addressPool {
	return &addressPool{byPod: map[types.UID]netip.Addr{}, taken: map[netip.Addr]bool{}, last: podNetwork.Addr()}
}

// reserve keeps the address that a pod already reports.
func (p *addressPool) reserve(pod types.UID, text string) {
	address, err := netip.ParseAddr(text)
	if err != nil || !podNetwork.Contains(address) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.byPod[pod]; !has && !p.taken[address] {
		p.byPod[pod], p.taken[address] = address, true
	}
}

// assign returns the pod's address, the next free one if it has none yet.
func (p *addressPool) assign(pod types.UID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if address, has := p.byPod[pod]; has {
		return address.String()
	}
	next := p.last.Next()
	for !podNetwork.Contains(next) || p.taken[next] {
		if next = next.Next(); !podNetwork.Contains(next) {
			next = podNetwork.Addr().Next()
		}
	}
	p.byPod[pod], p.taken[next], p.last = next, true, next
	return next.String()
}

func (p *addressPool) release(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, p.byPod[pod])
	delete(p.byPod, pod)
}
