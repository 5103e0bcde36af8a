package health

import "plumb.dev/plumb/internal/model"

// minIO judges MinIO's tenants. States that are not listed are steps on the way.
var minIO = system{group: "minio.min.io", kinds: map[string]rule{
	"Tenant": first(wordElse("status.currentState", words{
		"Initialized":                                          model.Current,
		"Statefulset not controlled by operator":               model.Unhealthy,
		"Another MinIO Tenant already exists in the namespace": model.Unhealthy,
		"Tenant credentials are not set properly":              model.Unhealthy,
		"Different versions across MinIO Pools":                model.Unhealthy,
		"Pool Decommissioning Not Allowed":                     model.Unhealthy,
	}, model.InProgress)),
}}
