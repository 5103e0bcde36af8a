package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/release"
)

// Helm's storage is read once for each release, as the delivery's identity. A
// watch of the records' metadata, which tells nothing of their content, says
// when somebody else has written one.

var secrets = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}

// storage is what is known of the records of one release.
type storage struct {
	namespace, name string
	stored          []release.Stored  // newest first
	known           bool              // stored is what the storage holds
	versions        map[string]string // Secret → resource version as we read or wrote it
	unreadable      map[string]string // Secret → why it cannot be read as a record
	heard           map[string]string // Secret → resource version that the watch told last; "": it is gone
	// others is when we heard of an action of somebody else that has not ended,
	// such as a person's "helm upgrade"; zero: there is none. One that was there
	// before we first looked is nobody's any more.
	others time.Time
}

// discarded stands for the version of a record that we have deleted: what the
// watch still tells of it is not news.
const discarded = "discarded"

// outdated reports whether the watch told of something that we have not done.
// The caller holds e.mu.
func (s *storage) outdated() bool {
	for name, version := range s.heard {
		known, ok := s.versions[name]
		if known == discarded {
			continue
		}
		if version == "" && ok || version != "" && (!ok || object.Older(known, version)) {
			return true
		}
	}
	return false
}

// records makes sure that what the storage holds is known, and returns it.
func (r *run) records(ctx context.Context, namespace, name string) ([]release.Stored, error) {
	e := r.e
	e.mu.Lock()
	s := &r.d.release.storage
	if s.namespace != namespace || s.name != name {
		e.forgetStorage(r.d)
		*s = storage{namespace: namespace, name: name}
		link(e.book.storages, key{r.d.cluster, storageID(namespace, name)}, r.spec.ID)
	}
	e.watchesOf(r.cluster).followStorage()
	known := s.known && !s.outdated()
	s.heard = nil // what comes from now on is news
	stored := s.stored
	e.mu.Unlock()
	defer r.findUnreadable()
	if known {
		return stored, nil
	}
	read, err := r.readRecords(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	found := read.stored
	release.Newest(found)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case len(found) == 0 || found[0].Made != "" || !found[0].Pending():
		s.others = time.Time{}
	case s.versions != nil && s.others.IsZero():
		s.others = time.Now()
	}
	s.stored, s.versions, s.unreadable, s.known = found, read.versions, read.unreadable, true
	return found, nil
}

// othersWork is how long an action of somebody else may still take before it is
// taken for dead; 0 when there is none.
func (r *run) othersWork() time.Duration {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	since := r.d.release.storage.others
	if since.IsZero() || r.spec.Deleting {
		return 0
	}
	return max(0, time.Until(since.Add(r.spec.Release.Upgrade.Timeout)))
}

// readRecords reads the records of a release. As in Helm's storage, one that cannot
// be read is as if it were not there (pkg/storage/driver, Secrets.Query).
func (r *run) readRecords(ctx context.Context, namespace, name string) (*storage, error) {
	kind, err := r.cluster.Resolve(ctx, secrets)
	if err != nil {
		return nil, cluster.Explain(err, "discover", storageID(namespace, name), r.spec.Origin)
	}
	read := &storage{versions: map[string]string{}, unreadable: map[string]string{}}
	_, err = r.session.List(ctx, kind, cluster.ListOptions{Namespace: namespace, LabelSelector: release.Selector(name)}, func(o *unstructured.Unstructured) error {
		read.versions[o.GetName()] = o.GetResourceVersion()
		record, err := r.e.codec.Read(o)
		if err != nil {
			read.unreadable[o.GetName()] = err.Error()
			return nil //nolint:nilerr // it is told of
		}
		read.stored = append(read.stored, record.Sum(r.d.release.state.Report.History, r.spec.Release.Attempted.OCIDigest))
		return nil
	})
	if err != nil {
		f := cluster.Explain(err, "list the release records of", storageID(namespace, name), r.spec.Origin)
		f.Reason = "StateError"
		return nil, f
	}
	return read, nil
}

// findUnreadable tells of records that cannot be read.
func (r *run) findUnreadable() {
	r.e.mu.Lock()
	unreadable := r.d.release.storage.unreadable
	r.e.mu.Unlock()
	for _, why := range unreadable {
		finding := model.Finding{
			Severity: model.Warning, Reason: "RecordUnreadable", Origin: model.Origin{Declared: r.spec.ID},
			Message: why + "; it is passed over, as Helm does",
		}
		if !slices.Contains(r.found, finding) {
			r.find(finding)
		}
	}
}

// revision reads one record whole.
func (r *run) revision(ctx context.Context, version int) (*release.Record, error) {
	s := &r.d.release.storage
	id := release.SecretID(s.namespace, s.name, version)
	kind, err := r.cluster.Resolve(ctx, secrets)
	if err != nil {
		return nil, cluster.Explain(err, "discover", id, r.spec.Origin)
	}
	o, err := r.session.Get(ctx, kind, id.Namespace, id.Name)
	if apierrors.IsNotFound(err) {
		r.forgetRecords()
		return nil, errForeignRecord
	}
	if err != nil {
		return nil, cluster.Explain(err, "get", id, r.spec.Origin)
	}
	record, err := r.e.codec.Read(o)
	if err != nil { // it has been broken since it was read first
		r.forgetRecords()
		return nil, errForeignRecord
	}
	return record, nil
}

// store writes a record: create one that is new, replace one that is there.
func (r *run) store(ctx context.Context, record *release.Record) error {
	s := &r.d.release.storage
	id := release.SecretID(s.namespace, record.Name, record.Version)
	kind, err := r.cluster.Resolve(ctx, secrets)
	if err != nil {
		return cluster.Explain(err, "discover", id, r.spec.Origin)
	}
	if record.By == "" && record.Action != "" {
		record.By = name(r.spec.ID)
	}
	now := time.Now()
	o, err := r.e.codec.Secret(record, s.namespace, now)
	if err != nil {
		return err
	}
	r.e.mu.Lock()
	was, unreadable := s.versions[id.Name], s.unreadable[id.Name]
	if unreadable != "" { // Helm's storage says that it exists already
		r.e.mu.Unlock()
		return &model.Fault{
			Reason: helm.StateError, Origin: r.spec.Origin, Object: id,
			Message: fmt.Sprintf("the record of revision %d cannot be written: %s; delete that Secret, or put it back as it was", record.Version, unreadable),
		}
	}
	if was == discarded {
		was = ""
	}
	r.e.mu.Unlock()
	var live *unstructured.Unstructured
	opts := cluster.WriteOptions{Manager: r.spec.Ownership.FieldManager}
	if was == "" {
		live, err = r.session.Create(ctx, kind, o, opts)
	} else {
		o.SetResourceVersion(was)
		live, err = r.session.Update(ctx, kind, o, opts)
	}
	if err != nil {
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
			r.forgetRecords()
			return errForeignRecord
		}
		return cluster.Explain(err, "write the release record", id, r.spec.Origin)
	}
	if record.Created.IsZero() {
		record.Created = time.Unix(now.Unix(), 0)
	}
	r.noteStored(record, id.Name, live.GetResourceVersion())
	return nil
}

// noteStored notes a record as it is in the storage now.
func (r *run) noteStored(record *release.Record, secret, version string) {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	s := &r.d.release.storage
	sum := record.Sum(r.d.release.state.Report.History, r.ociDigest())
	kept := make([]release.Stored, 0, len(s.stored)+1)
	for i := range s.stored {
		if s.stored[i].Version != record.Version {
			kept = append(kept, s.stored[i])
		}
	}
	kept = append(kept, sum)
	release.Newest(kept)
	if s.versions == nil {
		s.versions = map[string]string{}
	}
	s.stored, s.versions[secret] = kept, version
}

// discard deletes records.
func (r *run) discard(ctx context.Context, versions []int) error {
	s := &r.d.release.storage
	kind, err := r.cluster.Resolve(ctx, secrets)
	if err != nil {
		return cluster.Explain(err, "discover", storageID(s.namespace, s.name), r.spec.Origin)
	}
	for _, version := range versions {
		id := release.SecretID(s.namespace, s.name, version)
		err := r.session.Delete(ctx, kind, id.Namespace, id.Name, cluster.DeleteOptions{Propagation: metav1.DeletePropagationBackground})
		if err != nil && !apierrors.IsNotFound(err) {
			return cluster.Explain(err, "delete", id, r.spec.Origin)
		}
		r.e.mu.Lock()
		s.versions[id.Name] = discarded
		kept := make([]release.Stored, 0, len(s.stored))
		for i := range s.stored {
			if s.stored[i].Version != version {
				kept = append(kept, s.stored[i])
			}
		}
		s.stored = kept
		r.e.mu.Unlock()
	}
	return nil
}

// errForeignRecord ends an action whose record somebody else has written or
// deleted: what is to be done is decided anew, by the records as they are.
var errForeignRecord = errors.New("somebody else has changed the records of the release")

// forgetRecords makes the next look read the storage.
func (r *run) forgetRecords() {
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.d.release.storage.known = false
}

// forgetStorage ends what is heard of the storage of a release. The caller
// holds e.mu.
func (e *Engine) forgetStorage(d *delivery) {
	if d.release == nil {
		return
	}
	s := &d.release.storage
	unlink(e.book.storages, key{d.cluster, storageID(s.namespace, s.name)}, d.spec.ID)
}

// storageID stands for all records of a release.
func storageID(namespace, name string) object.ID {
	return object.ID{Kind: "Secret", Namespace: namespace, Name: name}
}

// releaseOf is the release that a Secret of Helm's storage belongs to, by its
// name alone: "sh.helm.release.v1.<release>.v<revision>".
func releaseOf(secret string) string {
	rest, _ := strings.CutPrefix(secret, "sh.helm.release.v1.")
	if at := strings.LastIndex(rest, ".v"); at >= 0 {
		return rest[:at]
	}
	return rest
}

// followStorage watches the records of all releases of a cluster. The caller
// holds e.mu.
func (w *watches) followStorage() {
	if w.stopStorage != nil {
		return
	}
	w.stopStorage = w.cluster.Watch(w.e.ctx, cluster.WatchSpec{GVK: secrets, LabelSelector: release.Selector(""), MetadataOnly: true}, &storageWatch{w: w})
}

// storageWatch hears of the records that others write.
type storageWatch struct{ w *watches }

// Event wakes the delivery whose release the record is of, unless it wrote that
// itself.
func (s *storageWatch) Event(typ watch.EventType, o *unstructured.Unstructured) {
	e := s.w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	of := key{s.w.cluster.Key(), storageID(o.GetNamespace(), releaseOf(o.GetName()))}
	for id := range e.book.storages[of] {
		d := e.book.deliveries[id]
		if d == nil || d.release == nil {
			continue
		}
		at := &d.release.storage
		if at.heard == nil {
			at.heard = map[string]string{}
		}
		at.heard[o.GetName()] = o.GetResourceVersion()
		if typ == watch.Deleted {
			at.heard[o.GetName()] = ""
		}
		if at.known && at.outdated() {
			e.queue.add(id, changed)
		}
	}
}

// Synced needs nothing: releases are read when they are looked at first.
func (s *storageWatch) Synced() {}

// Gone makes every release of the cluster be read anew.
func (s *storageWatch) Gone(error) {
	e := s.w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.book.deliveries {
		if d.release != nil && d.cluster == s.w.cluster.Key() {
			d.release.storage.known = false
		}
	}
}
