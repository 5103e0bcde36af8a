package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

const (
	pageSize = 500

	metaListType = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	metaType     = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

// list reads page by page. A continuation that expired starts the list again,
// and when that happens twice, without pages (as client-go's pager does).
func (c *Cluster) list(ctx context.Context, who model.Identity, kind Kind, opts ListOptions, each func(*unstructured.Unstructured) error) (string, error) {
	p, err := collectionPath(kind, opts.Namespace)
	if err != nil {
		return "", err
	}
	limit := opts.PageSize
	if limit <= 0 {
		limit = pageSize
	}
	for restarts := 0; ; restarts++ {
		if restarts == 2 {
			limit = 0
		}
		rv, err := c.listPages(ctx, who, kind, p, limit, opts, each)
		if err == nil || !apierrors.IsResourceExpired(err) || limit == 0 {
			return rv, err
		}
	}
}

// calleeError is an error of the function that gets the objects, which must
// not be taken for one of the server's.
type calleeError struct{ error }

func (c *Cluster) listPages(ctx context.Context, who model.Identity, kind Kind, path string, limit int, opts ListOptions, each func(*unstructured.Unstructured) error) (string, error) {
	q := selectorQuery(opts.LabelSelector, opts.FieldSelector)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	apiVersion, kindName := kind.GVK.GroupVersion().String(), kind.GVK.Kind
	r := &request{
		method: http.MethodGet, path: path, retry: always, who: who,
		call: Call{Verb: "list", Kind: kind, Namespace: opts.Namespace, Identity: who},
	}
	if opts.MetadataOnly {
		r.accept = metaListType
	}
	for {
		r.query = q.Encode()
		var got page
		err := c.do(ctx, r, func(body []byte) error {
			var err error
			got, err = decodeList(body, opts.MetadataOnly, func(item map[string]any) error {
				// Items of built-in kinds come without them, those of
				// metadata-only lists with those of PartialObjectMetadata.
				item["apiVersion"], item["kind"] = apiVersion, kindName
				if err := each(&unstructured.Unstructured{Object: item}); err != nil {
					return calleeError{err}
				}
				return nil
			})
			return err
		})
		if err != nil {
			var callee calleeError
			if errors.As(err, &callee) {
				return "", callee.error
			}
			return "", err
		}
		if got.next == "" {
			return got.resourceVersion, nil
		}
		if got.next == q.Get("continue") {
			return "", fmt.Errorf("list %s: the API server repeats a page", kind.GVR.Resource)
		}
		q.Set("continue", got.next)
	}
}

func selectorQuery(labels, fields string) url.Values {
	q := url.Values{}
	if labels != "" {
		q.Set("labelSelector", labels)
	}
	if fields != "" {
		q.Set("fieldSelector", fields)
	}
	return q
}
