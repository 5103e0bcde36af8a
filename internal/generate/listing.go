package generate

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// listing is something that a server hands out in pages.
type listing[T any] struct {
	// page reads one page and says where the next one is; at is "" for the
	// first one, next is "" behind the last one.
	page func(ctx context.Context, at string) (items []T, next string, err error)
	// name tells one item from another.
	name func(T) string
}

// readings bounds how often a list of several pages is read in search of two
// readings that agree.
const readings = 4

// read returns all items in the server's order, each once. A list of one page
// is what it is; one of several pages is read until two readings agree, since
// an item that goes away in between hides another one.
func (l listing[T]) read(ctx context.Context, c *api) ([]T, error) {
	items, pages, err := l.once(ctx, c)
	if err != nil || pages == 1 {
		return items, err
	}
	same := func(a, b T) bool { return l.name(a) == l.name(b) }
	for range readings - 1 {
		again, _, err := l.once(ctx, c)
		if err != nil {
			return nil, err
		}
		if slices.EqualFunc(items, again, same) {
			return again, nil
		}
		items = again
	}
	return nil, errChanged{}
}

func (l listing[T]) once(ctx context.Context, c *api) (items []T, pages int, err error) {
	limits := c.asker.limits
	seen := map[string]bool{}
	for at := ""; ; pages++ {
		if pages == limits.Pages {
			return nil, 0, errLimit{fmt.Sprintf("a list of %s has more than %d pages", c.name, limits.Pages)}
		}
		some, next, err := l.page(ctx, at)
		switch {
		case at != "" && isMissing(err): // what had a first page is not missing
			return nil, 0, errChanged{}
		case err != nil:
			return nil, 0, err
		}
		before := len(items)
		for _, item := range some {
			name := l.name(item)
			if name == "" {
				return nil, 0, &errGarbled{server: c.name}
			}
			if !seen[name] {
				seen[name] = true
				items = append(items, item)
			}
		}
		switch {
		case len(items) > limits.Results:
			return nil, 0, errLimit{fmt.Sprintf("a list of %s has more than %d entries", c.name, limits.Results)}
		case next == "", len(some) > 0 && len(items) == before: // or the server knows no pages
			return items, pages + 1, nil
		}
		at = next
	}
}

// nextPage reads where a list goes on from its headers: X-Next-Page (GitLab) or
// a Link with the relation next (RFC 8288; GitHub, Gitea, GitLab). Only the
// page's number is taken: the address may be one that is known behind a proxy
// only.
func nextPage(header http.Header) string {
	if page := header.Get("X-Next-Page"); page != "" {
		return page
	}
	for _, link := range strings.Split(strings.Join(header.Values("Link"), ","), ",") {
		target, parameters, _ := strings.Cut(strings.TrimSpace(link), ">")
		if !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		if next, err := url.Parse(strings.TrimPrefix(target, "<")); err == nil {
			return next.Query().Get("page")
		}
	}
	return ""
}

// each does something for every item, several at a time, and returns the
// results in order. The first failure ends it.
func each[T, R any](ctx context.Context, c *api, items []T, do func(context.Context, T) (R, error)) ([]R, error) {
	results := make([]R, len(items))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(c.asker.limits.Parallel)
	for i, item := range items {
		group.Go(func() (err error) {
			if inner.Err() != nil { // another one failed
				return inner.Err()
			}
			results[i], err = do(inner, item)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return results, nil
}
