package argocd_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
)

// TestWhoDeletesSeesTheEnd: a command line that deletes and then waits is told of
// the end, though it comes late to see it.
func TestWhoDeletesSeesTheEnd(t *testing.T) {
	s := setup(t, project, defaultProject, shop)
	s.must("shopkeeper", apps+"Delete", map[string]any{"name": "shop"})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	client, m := s.rpc(apps+"Watch", connect.WithGRPC())
	request := connect.NewRequest(&message{m.Input, map[string]any{"name": "shop", "appNamespace": "argocd", "resourceVersion": ""}})
	request.Header().Set("token", "token-shopkeeper")
	stream, err := client.CallServerStream(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	if !stream.Receive() || stream.Msg().value["type"] != "DELETED" {
		t.Errorf("got %v (%v)", stream.Msg(), stream.Err())
	}
}
