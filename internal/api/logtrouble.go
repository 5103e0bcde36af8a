package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/pods"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/model"
)

// simulatedNode reports whether nothing is really run on a node. It is Plumb that
// looks: what a node is is no secret of the target.
func simulatedNode(ctx context.Context, session *cluster.Session, node string) bool {
	if node == "" {
		return false
	}
	kind, err := session.Cluster().Resolve(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Node"})
	if err != nil {
		return false
	}
	o, err := session.Cluster().As(model.Identity{}).Get(ctx, kind, "", node)
	return err == nil && pods.Simulated(o)
}

// logTrouble says why a log cannot be read, and what to do about it. What a
// kubelet or the way to it answers names addresses and paths that are of no use
// to people, and is not repeated.
func logTrouble(err error, what, node string, simulated func() bool) *plumbv1.Fault {
	fault := func(reason, message, advice string) *plumbv1.Fault {
		return &plumbv1.Fault{Reason: reason, Message: message, Advice: advice, Severity: "error"}
	}
	code := 0
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		code = int(status.Status().Code)
	}
	switch {
	case code == http.StatusForbidden || code == http.StatusUnauthorized:
		return fault("Forbidden", "the log of "+what+" may not be read by the delivery's service account", "let it get pods/log in this namespace")
	case code == http.StatusNotFound:
		return fault("Gone", "the log of "+what+" is gone with its Pod", "look at the Pods that have come after it")
	case code == http.StatusBadRequest && strings.Contains(err.Error(), "previous terminated"):
		return fault("NoPrevious", what+" has not ended before: there is no earlier log", "look at the log of the one that runs")
	case code == http.StatusBadRequest:
		return fault("NotStarted", what+" has no log yet: it has not started", "the events of the Pod say what it waits for")
	case simulated():
		return fault("SimulatedNode", what+" is on the simulated node "+node+", which runs no programs: it has no log",
			"to see logs, deliver to a cluster with real nodes, as with plumb server --kubeconfig FILE")
	case node == "":
		return fault("NotScheduled", what+" is on no node yet: it has no log", "the events of the Pod say what it waits for")
	case code == 0:
		return fault("Unreachable", "the log of "+what+" cannot be read: the API server does not answer", "look at the cluster's own page, and try again")
	}
	return fault("NodeUnreachable", "the log of "+what+" cannot be read: the kubelet of node "+node+" does not answer the API server",
		"look at the node: it may be down or cut off")
}
