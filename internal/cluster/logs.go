package cluster

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// LogOptions say which lines of a container are wanted. Each line begins with
// its time, in RFC 3339.
type LogOptions struct {
	Container string // "": the only one
	Previous  bool   // of the instance before
	Follow    bool
	TailLines int       // 0: all
	Since     int       // seconds that lines may be old; 0: any
	From      time.Time // lines of the second of this time and later; zero: any
	MaxBytes  int       // that are read; 0: all
}

// Logs reads the log of a Pod until the context ends. The caller closes it.
func (s *Session) Logs(ctx context.Context, namespace, pod string, opts LogOptions) (io.ReadCloser, error) {
	kind, err := s.c.Resolve(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	if err != nil {
		return nil, err
	}
	path, err := objectPath(kind, namespace, pod, "log")
	if err != nil {
		return nil, err
	}
	q := url.Values{"timestamps": {"true"}}
	if opts.Container != "" {
		q.Set("container", opts.Container)
	}
	for name, n := range map[string]int{"tailLines": opts.TailLines, "sinceSeconds": opts.Since, "limitBytes": opts.MaxBytes} {
		if n > 0 {
			q.Set(name, strconv.Itoa(n))
		}
	}
	if !opts.From.IsZero() {
		q.Set("sinceTime", opts.From.UTC().Format(time.RFC3339))
	}
	for name, set := range map[string]bool{"previous": opts.Previous, "follow": opts.Follow} {
		if set {
			q.Set(name, "true")
		}
	}
	r := &request{method: http.MethodGet, path: path, query: q.Encode(), accept: "*/*", who: s.who, call: Call{Verb: "get", Kind: kind, Namespace: namespace, Name: pod, Identity: s.who}}
	resp, err := s.c.roundTrip(ctx, r) //nolint:bodyclose // the caller closes it, as a log
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer drain(resp.Body)
		var body bytes.Buffer
		if err := readAll(&body, resp); err != nil {
			return nil, err
		}
		return nil, s.c.statusError(r, resp, body.Bytes())
	}
	return resp.Body, nil
}
