package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// client is the API server as the driver uses it. Answers are thrown away or
// decoded into the few fields that are looked at: the driver shares the
// machine with what it measures.
type client struct {
	base string
	http *http.Client
}

// driverAgent tells the driver's requests from Plumb's in the audit log.
const driverAgent = "bench-driver"

func newClient(cfg *rest.Config) (*client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = driverAgent
	transport, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	return &client{base: strings.TrimRight(cfg.Host, "/"), http: transport}, nil
}

// Content types of writes.
const (
	asJSON  = "application/json"
	asMerge = "application/merge-patch+json"
	asApply = "application/apply-patch+yaml"
)

func (c *client) do(ctx context.Context, method, path, contentType string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode < 300 {
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return errors.Join(fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text), err)
}

// get decodes one object.
func (c *client) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// create posts an object written as YAML.
func (c *client) create(ctx context.Context, collection, object string) error {
	body, err := yaml.YAMLToJSON([]byte(object))
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, collection, asJSON, body)
}

// merge sends a merge patch.
func (c *client) merge(ctx context.Context, path string, patch any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPatch, path, asMerge, body)
}

// apply sends a server-side apply.
func (c *client) apply(ctx context.Context, path, manager string, body []byte) error {
	return c.do(ctx, http.MethodPatch, path+"?force=true&fieldManager="+manager, asApply, body)
}

// seen is what the driver looks at in watched objects.
type seen struct {
	Metadata struct {
		Name            string `json:"name"`
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
		Generation      int64  `json:"generation"`
	} `json:"metadata"`
	Data struct {
		Value string `json:"value"`
	} `json:"data"`
	Status struct {
		ObservedGeneration  int64  `json:"observedGeneration"`
		LastAppliedRevision string `json:"lastAppliedRevision"`
		Conditions          []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
		Sync struct {
			Status   string `json:"status"`
			Revision string `json:"revision"`
		} `json:"sync"`
		Health struct {
			Status string `json:"status"`
		} `json:"health"`
	} `json:"status"`
}

// ready reports Ready at the current generation, or Synced and Healthy.
func (s *seen) ready() bool {
	if s.Status.Sync.Status != "" {
		return s.Status.Sync.Status == "Synced" && s.Status.Health.Status == "Healthy"
	}
	for _, condition := range s.Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Status == "True" && s.Status.ObservedGeneration == s.Metadata.Generation
		}
	}
	return false
}

// watch hands every change of a collection to handle until the context ends,
// beginning with what is there; it returns once the watch has begun.
func (c *client) watch(ctx context.Context, collection string, handle func(deleted bool, object *seen)) error {
	separator := "?"
	if strings.Contains(collection, "?") {
		separator = "&"
	}
	// Without a version the server first sends what is there.
	path := collection + separator + "watch=1&timeoutSeconds=86400"
	for {
		first := make(chan error, 1)
		go func() {
			begun := first
			for c.stream(ctx, path, begun, handle) && ctx.Err() == nil {
				begun = make(chan error, 1) // the server ends watches; what is there comes again
			}
		}()
		err := <-first
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), tooEarly) {
			return err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// tooEarly is the answer of a collection whose kind has just been defined.
const tooEarly = "429"

// stream reads a watch to its end.
func (c *client) stream(ctx context.Context, path string, begun chan<- error, handle func(deleted bool, object *seen)) (began bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		begun <- err
		return false
	}
	answer, err := c.http.Do(request)
	if err != nil {
		begun <- err
		return false
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		begun <- fmt.Errorf("watch %s: %s", path, answer.Status)
		return false
	}
	begun <- nil
	lines := bufio.NewReaderSize(answer.Body, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return true
		}
		var event struct {
			Type   string `json:"type"`
			Object seen   `json:"object"`
		}
		if json.Unmarshal(line, &event) == nil && event.Type != "ERROR" {
			handle(event.Type == "DELETED", &event.Object)
		}
	}
}
