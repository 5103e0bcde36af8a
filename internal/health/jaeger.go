package health

import "plumb.dev/plumb/internal/model"

// jaeger judges the instances of Jaeger's operator.
var jaeger = system{group: "jaegertracing.io", kinds: map[string]rule{
	"Jaeger": first(word("status.phase", words{"Running": model.Current, "Failed": model.Unhealthy})),
}}
