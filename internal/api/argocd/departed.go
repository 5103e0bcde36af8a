package argocd

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Bounds of what is remembered of deleted objects.
const (
	departedFor = 10 * time.Minute
	maxDeparted = 1000
)

// departed remembers the projects of what was deleted here: whoever could see an
// Application may be told that it is gone, when nothing else tells of it any
// more.
type departed struct {
	mu sync.Mutex
	of map[string]departure // by kind, namespace and name
}

type departure struct {
	project string
	at      time.Time
}

func (d *departed) note(kind Kind, o *unstructured.Unstructured, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.of) >= maxDeparted || d.of == nil {
		d.of = map[string]departure{}
	}
	d.of[kind.Kind+"/"+qualified(o)] = departure{projectOf(o), now}
}

// project is that of an object that was deleted not long ago; "" for others.
func (d *departed) project(kind Kind, namespace, name string, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.of[kind.Kind+"/"+namespace+"/"+name]
	if now.Sub(was.at) > departedFor {
		return ""
	}
	return was.project
}
