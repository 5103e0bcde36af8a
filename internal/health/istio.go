package health

import "plumb.dev/plumb/internal/model"

// istio judges the installations of Istio's operator.
var istio = system{group: "install.istio.io", kinds: map[string]rule{"IstioOperator": first(istioOperator)}}

// istioNumbers are the states by number, as older operators write them.
var istioNumbers = []string{"NONE", "UPDATING", "RECONCILING", "HEALTHY", "ERROR"}

func istioOperator(live fields) (model.Health, bool) {
	said := live.text("status", "status")
	if n, ok := live.whole("status", "status"); ok && n >= 0 && n < int64(len(istioNumbers)) {
		said = istioNumbers[n]
	}
	state, known := words{
		"NONE": model.Unknown, "UPDATING": model.InProgress, "RECONCILING": model.InProgress,
		"HEALTHY": model.Current, "ERROR": model.Unhealthy,
	}[said]
	return verdict(state, said, "%s", or(live.text("status", "message"), "the installation is "+said)), known
}
