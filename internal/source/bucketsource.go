package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sync/errgroup"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// reasonBucketOperationFailed is the reason of bucket_controller.go for all
// that goes wrong once there is a client.
const reasonBucketOperationFailed = "BucketOperationFailed"

// bucketDownloads is how many objects of one bucket are fetched at a time.
const bucketDownloads = 8

// bucketVisit fetches a Bucket.
type bucketVisit struct{ *visit }

// bucketFile is an object of a bucket as the depot has it.
type bucketFile struct {
	Key  string `json:"key"`
	ETag string `json:"etag"`
	Hash string `json:"hash"` // of the blob
}

func (v *bucketVisit) place() string {
	b := v.spec.Bucket
	question := []string{"bucket", b.Provider, b.Endpoint, b.Name, b.Region, b.Prefix, string(b.ServiceAccount.Reveal())}
	for _, name := range slices.Sorted(maps.Keys(b.AzureKeys)) {
		question = append(question, name, string(b.AzureKeys[name].Reveal()))
	}
	if sts := b.STS; sts != nil {
		question = append(question, "sts", sts.Provider, sts.Endpoint, dial.Key(&sts.Auth))
	}
	return dial.Key(&b.Auth, question...)
}

// look lists the bucket, leaves out what ignore rules say, and digests the rest
// as source-controller does (bucket_controller.go fetchEtagIndex): nothing of an
// object but its name and entity tag makes the revision.
func (v *bucketVisit) look(ctx context.Context) (offer, error) {
	s, b := v.store, v.spec.Bucket
	all, err := s.buckets.look(ctx, s, v.place(), func(ctx context.Context) ([]model.BucketObject, error) {
		return s.clients.Buckets.List(ctx, b, s.limits.Files)
	})
	if err != nil {
		return offer{}, err
	}
	rules, err := v.rules(ctx, all)
	if err != nil {
		return offer{}, err
	}
	kept, err := v.kept(all, rules)
	if err != nil {
		return offer{}, err
	}
	h := sha256.New()
	for _, o := range kept {
		_, _ = fmt.Fprintf(h, "%s %s\n", o.Key, o.ETag)
	}
	revision := "sha256:" + hex.EncodeToString(h.Sum(nil))
	return offer{
		key:   revision,
		notes: notes{Revision: revision},
		load:  func(ctx context.Context) (piece, error) { return v.load(ctx, kept) },
	}, nil
}

// rules are what spec.ignore and a .sourceignore file at the root of the bucket
// say, beside the patterns for version control.
func (v *bucketVisit) rules(ctx context.Context, all []model.BucketObject) (*rules, error) {
	r := newRules(v.spec.Ignore, true)
	listed := slices.ContainsFunc(all, func(o model.BucketObject) bool { return o.Key == ignoreFile })
	if !listed && v.spec.Bucket.Prefix == "" {
		return r, nil
	}
	content, err := v.object(ctx, ignoreFile, maxIgnoreFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case errors.Is(err, errTooLarge):
		return nil, errIgnore{ignoreFile + " is too large"}
	case err != nil:
		return nil, fmt.Errorf("failed to get Etag for '%s' object: %w", ignoreFile, err)
	}
	patterns := parsePatterns(string(content), nil)
	if len(patterns) > maxPatterns {
		return nil, errIgnore{"too many patterns are in force at " + ignoreFile}
	}
	return r.with(patterns, "", string(content)), nil
}

// kept are the objects that are fetched, sorted by key.
func (v *bucketVisit) kept(all []model.BucketObject, rules *rules) ([]model.BucketObject, error) {
	var kept []model.BucketObject
	for _, o := range all {
		if strings.HasSuffix(o.Key, "/") || o.Key == ignoreFile || rules.excludes(strings.Split(o.Key, "/"), false) {
			continue
		}
		if o.Size > v.store.limits.FileBytes {
			return nil, fmt.Errorf("%w: %s of %d bytes is larger than the %d that are accepted", errTooLarge, quoted(o.Key), o.Size, v.store.limits.FileBytes)
		}
		kept = append(kept, o)
	}
	if len(kept) > v.store.limits.Files {
		return nil, fmt.Errorf("%w: there are more than %d objects", errTooLarge, v.store.limits.Files)
	}
	slices.SortFunc(kept, func(a, b model.BucketObject) int { return strings.Compare(a.Key, b.Key) })
	return kept, nil
}

// object reads an object.
func (v *bucketVisit) object(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, err := v.store.clients.Buckets.Get(ctx, v.spec.Bucket, key)
	if err != nil {
		return nil, err
	}
	return v.store.small(ctx, body, limit)
}

// load brings objects into the depot. Those whose entity tag is what it was
// before are not fetched.
func (v *bucketVisit) load(ctx context.Context, kept []model.BucketObject) (piece, error) {
	before, err := v.before(ctx)
	if err != nil {
		return piece{}, err
	}
	fetched, err := v.fetch(ctx, kept, before)
	if err != nil {
		return piece{}, err
	}
	var p piece
	p.log, err = v.store.content.extend(ctx, func(b *batch) error {
		files := newStock(ctx, v.store.limits, b)
		for _, f := range fetched {
			if err := fetchedFile(ctx, files, f); err != nil {
				return err
			}
		}
		var err error
		p.root, err = files.write()
		return err
	})
	p.notes.Objects = make([]bucketFile, len(fetched))
	for i := range fetched {
		p.notes.Objects[i] = fetched[i].bucketFile
	}
	return p, err
}

// fetchedObject is an object with the log that has its content.
type fetchedObject struct {
	bucketFile
	log *objects
}

// fetchedFile puts an object where its key says; the key stays inside as if the
// tree were the whole file system (bucket_controller.go, securejoin).
func fetchedFile(ctx context.Context, files *stock, f fetchedObject) error {
	elements, _ := clean(path.Join("/", f.Key))
	h := plumbing.NewHash(f.Hash)
	if err := copyObject(ctx, f.log, files.batch, h); err != nil {
		return err
	}
	return files.place(elements, model.FileEntry, h)
}

// before are the objects of the revision that the source had, by key.
func (v *bucketVisit) before(ctx context.Context) (map[string]fetchedObject, error) {
	revision := ""
	switch {
	case v.last != nil && v.last.store == v.store:
		revision = v.last.revision
	case v.spec.Last != nil:
		revision = v.spec.Last.Revision
	}
	p, ok, err := v.store.content.recall(ctx, revisionLabel(v.place(), revision))
	if err != nil || !ok {
		return nil, err
	}
	known := make(map[string]fetchedObject, len(p.notes.Objects))
	for _, f := range p.notes.Objects {
		known[f.Key] = fetchedObject{bucketFile: f, log: p.log}
	}
	return known, nil
}

// fetch gets the objects that are not known, several at a time.
func (v *bucketVisit) fetch(ctx context.Context, kept []model.BucketObject, known map[string]fetchedObject) ([]fetchedObject, error) {
	all := make([]fetchedObject, len(kept))
	budget := struct {
		sync.Mutex
		left int64
	}{left: v.store.limits.ArchiveBytes}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(bucketDownloads)
	for i, o := range kept {
		was, ok := known[o.Key]
		if ok && o.ETag != "" && was.ETag == o.ETag && was.log.has(plumbing.NewHash(was.Hash)) {
			all[i] = was
			continue
		}
		group.Go(func() error {
			content, err := v.object(ctx, o.Key, v.store.limits.FileBytes)
			if err != nil {
				return fmt.Errorf("failed to get '%s' object: %w", o.Key, err)
			}
			budget.Lock()
			budget.left -= int64(len(content))
			over := budget.left < 0
			budget.Unlock()
			if over {
				return fmt.Errorf("%w: the objects have more than %d bytes", errTooLarge, v.store.limits.ArchiveBytes)
			}
			all[i], err = v.store.fetched(ctx, o, content)
			return err
		})
	}
	return all, group.Wait()
}

// fetched adds the content of an object to the depot.
func (s *Store) fetched(ctx context.Context, o model.BucketObject, content []byte) (f fetchedObject, err error) {
	f.Key, f.ETag = o.Key, o.ETag
	f.log, err = s.content.extend(ctx, func(b *batch) error {
		h, err := newStock(ctx, s.limits, b).keep(content)
		f.Hash = h.String()
		return err
	})
	return f, err
}

func (v *bucketVisit) fault(err error) *model.Fault {
	return &model.Fault{Reason: reasonBucketOperationFailed, Message: fmt.Sprintf("fetch of bucket '%s' failed: %s", v.spec.Bucket.Name, err)}
}

func (v *bucketVisit) finish(t *Tree, p piece) {
	t.file = product{name: hexOf(p.notes.Revision) + archiveSuffix}
}
