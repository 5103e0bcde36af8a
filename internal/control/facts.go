package control

import (
	"context"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// facts watches the objects that declared objects refer to, each by name, once,
// however many refer to it.
type facts struct {
	ctx     context.Context // watches end with it
	cluster *cluster.Cluster
	tell    func(object.ID) // a fact of that object changed

	mu     sync.Mutex
	watch  map[model.Need]*fact
	needed map[object.ID]map[*fact]struct{}
}

// fact is one needed object.
type fact struct {
	fs    *facts
	need  model.Need
	users map[object.ID]bool
	stop  func()
	known bool
	fact  model.Fact

	// Of a need with a selector.
	objects map[string]*unstructured.Unstructured
	synced  bool
}

func newFacts(ctx context.Context, c *cluster.Cluster, tell func(object.ID)) *facts {
	return &facts{ctx: ctx, cluster: c, tell: tell, watch: map[model.Need]*fact{}, needed: map[object.ID]map[*fact]struct{}{}}
}

// answer adds what is known of the needed objects to the facts, and reports
// whether that was all. What is not known is watched from now on.
func (fs *facts) answer(id object.ID, needs []model.Need, known model.Facts) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	complete := true
	for _, need := range needs {
		f := fs.watch[need]
		if f == nil {
			f = &fact{fs: fs, need: need, users: map[object.ID]bool{}}
			fs.watch[need] = f
			spec := cluster.WatchSpec{GVK: fs.kindOf(need), Namespace: need.Namespace}
			switch need.Selector {
			case "":
				spec.FieldSelector = "metadata.name=" + need.Name
			case "*":
			default:
				spec.LabelSelector = need.Selector
			}
			f.stop = fs.cluster.Watch(fs.ctx, spec, f)
		}
		f.users[id] = true
		if fs.needed[id] == nil {
			fs.needed[id] = map[*fact]struct{}{}
		}
		fs.needed[id][f] = struct{}{}
		if f.known {
			known[need] = f.fact
		} else {
			complete = false
		}
	}
	return complete
}

// kindOf is the kind of a need. Where only the plural name is known, it is the
// served kind that is called so.
func (fs *facts) kindOf(need model.Need) schema.GroupVersionKind {
	gvk := schema.GroupVersionKind{Group: need.Group, Version: need.Version, Kind: need.Kind}
	if need.Resource == "" || need.Kind != "" {
		return gvk
	}
	served, err := fs.cluster.APIs(fs.ctx)
	if err != nil {
		return gvk // the watch tells that there is no such kind
	}
	for _, kind := range served.Kinds {
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		if kind.Group == need.Group && (need.Version == "" || kind.Version == need.Version) && plural.Resource == strings.ToLower(need.Resource) {
			return kind
		}
	}
	return gvk
}

// retain forgets what a declared object needed before and does not need now.
func (fs *facts) retain(id object.ID, now model.Facts) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := range fs.needed[id] {
		if _, ok := now[f.need]; !ok {
			fs.forget(id, f)
		}
	}
}

// release forgets everything that a declared object needed.
func (fs *facts) release(id object.ID) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := range fs.needed[id] {
		fs.forget(id, f)
	}
}

// forget ends one need. The caller holds fs.mu.
func (fs *facts) forget(id object.ID, f *fact) {
	delete(fs.needed[id], f)
	if len(fs.needed[id]) == 0 {
		delete(fs.needed, id)
	}
	delete(f.users, id)
	if len(f.users) == 0 {
		f.stop()
		delete(fs.watch, f.need)
	}
}

// set keeps an answer and tells those who need it.
func (f *fact) set(answer model.Fact) {
	f.fs.mu.Lock()
	if f.known && f.fact.State == answer.State && f.fact.Object == answer.Object && slices.Equal(f.fact.Objects, answer.Objects) {
		f.fs.mu.Unlock()
		return
	}
	f.known, f.fact = true, answer
	users := make([]object.ID, 0, len(f.users))
	for id := range f.users {
		users = append(users, id)
	}
	f.fs.mu.Unlock()
	for _, id := range users {
		f.fs.tell(id)
	}
}

// Event keeps the object.
func (f *fact) Event(typ watch.EventType, o *unstructured.Unstructured) {
	if f.need.Selector != "" {
		f.list(typ, o)
		return
	}
	if typ == watch.Deleted {
		f.set(model.Fact{State: model.Absent})
		return
	}
	f.set(model.Fact{State: model.Present, Object: slim(o)})
}

// Synced tells that the object does not exist, if it has not been seen.
func (f *fact) Synced() {
	if f.need.Selector != "" {
		f.synced = true
		f.set(f.all())
		return
	}
	f.fs.mu.Lock()
	known := f.known && f.fact.State == model.Present
	f.fs.mu.Unlock()
	if !known {
		f.set(model.Fact{State: model.Absent})
	}
}

// list keeps one of many objects. Only the watch's own goroutine touches them.
func (f *fact) list(typ watch.EventType, o *unstructured.Unstructured) {
	if f.objects == nil {
		f.objects = map[string]*unstructured.Unstructured{}
	}
	name := o.GetNamespace() + "/" + o.GetName()
	if typ == watch.Deleted {
		delete(f.objects, name)
	} else {
		f.objects[name] = slim(o)
	}
	if f.synced {
		f.set(f.all())
	}
}

// all is the answer of a need with a selector.
func (f *fact) all() model.Fact {
	names := make([]string, 0, len(f.objects))
	for name := range f.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	answer := model.Fact{State: model.Present, Objects: make([]*unstructured.Unstructured, len(names))}
	for i, name := range names {
		answer.Objects[i] = f.objects[name]
	}
	return answer
}

// Gone keeps apart what is forbidden and what merely failed; neither is absent.
// A fact that was known stays known while the watch comes back.
func (f *fact) Gone(err error) {
	f.fs.mu.Lock()
	known := f.known && f.fact.State == model.Present
	f.fs.mu.Unlock()
	if f.synced {
		// What comes again is told anew; what does not is gone.
		f.synced, f.objects = false, nil
	}
	switch {
	case apierrors.IsForbidden(err):
		f.set(model.Fact{State: model.Forbidden, Message: "Plumb may not read " + f.need.String()})
	case !known:
		f.set(model.Fact{State: model.Failed, Message: "reading " + f.need.String() + " failed"})
	}
}
