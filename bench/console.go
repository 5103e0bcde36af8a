package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
)

// What the console is asked.
const (
	consoleLists   = 200 // pages of the list
	consoleChanges = 100 // changes in the cluster, each awaited by a viewer
	consoleViewers = 20  // with the whole list open
	consolePage    = 100 // rows of a page
)

// consolePatience is how long the cluster's own controllers may take to make all
// applications healthy.
const consolePatience = 15 * time.Minute

// plumbNamespace holds what belongs to Plumb itself.
const plumbNamespace = "plumb-system"

// initialAdmin is where the first password of admin is: there are no settings of
// Argo CD on this cluster, so that Plumb keeps them with its own.
const initialAdmin = "/api/v1/namespaces/" + plumbNamespace + "/secrets/argocd-initial-admin-secret"

// A viewer is somebody who looks at the console: signed in, in JSON as a browser
// speaks.
type viewer struct {
	deliveries plumbv1connect.DeliveryServiceClient
}

// signIn signs in as admin, once there is a first password.
func (b *bench) signIn(ctx context.Context) (*viewer, error) {
	var secret struct {
		Data map[string]string `json:"data"`
	}
	if err := b.api.get(ctx, initialAdmin, &secret); err != nil {
		return nil, err
	}
	password, err := base64.StdEncoding.DecodeString(secret.Data["password"])
	if err != nil {
		return nil, err
	}
	address := "http://" + b.webhooks
	session, err := plumbv1connect.NewSessionServiceClient(http.DefaultClient, address, connect.WithProtoJSON()).
		SignIn(ctx, &plumbv1.SignInRequest{Username: "admin", Password: string(password), Token: true})
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	with := connect.WithInterceptors(bearer(session.GetToken()))
	return &viewer{plumbv1connect.NewDeliveryServiceClient(&http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}}, address, connect.WithProtoJSON(), with)}, nil
}

// bearer puts a token on every call.
type bearer string

func (t bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		request.Header().Set("Authorization", "Bearer "+string(t))
		return next(ctx, request)
	}
}

func (t bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		conn.RequestHeader().Set("Authorization", "Bearer "+string(t))
		return conn
	}
}

func (t bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// questions are what people ask of the list, one after the other: as it opens,
// narrowed, searched, sorted by another column, and somewhere in its middle.
func (b *bench) questions() []*plumbv1.ListDeliveriesRequest {
	query := func(q *plumbv1.Query) *plumbv1.ListDeliveriesRequest {
		q.PageSize = consolePage
		return &plumbv1.ListDeliveriesRequest{Query: q, Facets: true}
	}
	return []*plumbv1.ListDeliveriesRequest{
		query(&plumbv1.Query{}),
		query(&plumbv1.Query{Where: map[string]*plumbv1.Values{"health": {Values: []string{"Healthy"}}, "namespace": {Values: []string{declaredNamespace}}}}),
		query(&plumbv1.Query{Search: appName(b.n / 2)}),
		query(&plumbv1.Query{OrderBy: "changed desc"}),
		query(&plumbv1.Query{OrderBy: "name", Skip: int32(b.n / 2)}), //nolint:gosec // far from the bounds
	}
}

// measureConsole measures what people wait for in the console while nothing else
// happens: the list, and the news of a change.
func (b *bench) measureConsole(ctx context.Context, f *figures) error {
	v, err := b.signIn(ctx)
	if err != nil {
		return err
	}
	if err := b.awaitHealthy(ctx, v); err != nil {
		return err
	}
	questions := b.questions()
	for i := range consoleLists {
		began := time.Now()
		answer, err := v.deliveries.ListDeliveries(ctx, questions[i%len(questions)])
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if len(answer.GetDeliveries()) == 0 {
			return fmt.Errorf("list %d: no row in the answer; facets: %v", i%len(questions), answer.GetFacets())
		}
		f.lists = append(f.lists, time.Since(began))
	}
	b.step("a page of the list: p50 %s p95 %s", f.lists.at(50), f.lists.at(95))
	return b.measureViewers(ctx, v, f)
}

// awaitHealthy waits until every delivery is told as healthy. That Kustomizations
// are ready says nothing of their Deployments, which the controllers of the
// cluster may only come to when they have done with those of the baseline.
func (b *bench) awaitHealthy(ctx context.Context, v *viewer) error {
	ctx, stop := context.WithTimeout(ctx, consolePatience)
	defer stop()
	stream, err := v.deliveries.WatchDeliveries(ctx, &plumbv1.WatchDeliveriesRequest{
		ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"ref", "health"}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	healthy := map[string]bool{}
	for len(healthy) < b.n {
		if !stream.Receive() {
			return errors.Join(fmt.Errorf("%d of %d deliveries are told as healthy after %s", len(healthy), b.n, consolePatience), stream.Err())
		}
		for _, row := range stream.Msg().GetChanged() {
			if row.GetHealth().GetState() == "Healthy" {
				healthy[row.GetRef().GetName()] = true
			} else {
				delete(healthy, row.GetRef().GetName())
			}
		}
	}
	return nil
}

// measureViewers opens the whole list many times over, and changes the cluster
// before everybody's eyes.
func (b *bench) measureViewers(ctx context.Context, v *viewer, f *figures) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	told := make(chan *plumbv1.Delivery, 1024)
	for i := range consoleViewers {
		var news chan<- *plumbv1.Delivery
		if i == 0 {
			news = told
		}
		if err := v.watch(ctx, b.n, news); err != nil {
			return fmt.Errorf("viewer %d: %w", i, err)
		}
	}
	b.step("%d viewers have %d rows each", consoleViewers, b.n)
	memory := watchMemory(b.engine.pids()...)
	for i := range consoleChanges {
		took, err := b.suspended(ctx, appName(b.app(i/2)), i%2 == 0, told)
		if err != nil {
			return err
		}
		f.told = append(f.told, took)
	}
	f.consolePeak = memory.close()
	b.step("a change is told of: p50 %s p95 %s", f.told.at(50), f.told.at(95))
	return nil
}

// watch follows the list from its beginning; it returns when all rows are there.
func (v *viewer) watch(ctx context.Context, rows int, news chan<- *plumbv1.Delivery) error {
	stream, err := v.deliveries.WatchDeliveries(ctx, &plumbv1.WatchDeliveriesRequest{
		Facets: true, ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"ref", "dialect", "health", "sync", "suspended", "revision", "message", "changed"}},
	})
	if err != nil {
		return err
	}
	for seen := 0; seen < rows; {
		if !stream.Receive() {
			return errors.Join(errors.New("the stream has ended before all rows were there"), stream.Err())
		}
		seen += len(stream.Msg().GetChanged())
	}
	go func() {
		defer func() { _ = stream.Close() }() // it ends with the context
		for stream.Receive() {
			for _, row := range stream.Msg().GetChanged() {
				if news != nil {
					news <- row
				}
			}
		}
	}()
	return nil
}

// suspended suspends or resumes a delivery in the cluster, and measures from the
// API server's answer to the viewer's news.
func (b *bench) suspended(ctx context.Context, name string, suspend bool, told <-chan *plumbv1.Delivery) (time.Duration, error) {
	if err := b.api.merge(ctx, b.dialect.collection+"/"+name, map[string]any{"spec": map[string]any{"suspend": suspend}}); err != nil {
		return 0, err
	}
	answered := time.Now()
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for {
		select {
		case row := <-told:
			if row.GetRef().GetName() == name && strings.EqualFold(row.GetDialect(), "flux") && row.GetSuspended() == suspend {
				return time.Since(answered), nil
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("no viewer was told that %s changed", name)
		}
	}
}
