package health

import "plumb.dev/plumb/internal/model"

// ansible judges jobs of Ansible Tower by their result.
var ansible = system{group: "tower.ansible.com", kinds: map[string]rule{
	"AnsibleJob": first(word("status.ansibleJobResult.status", words{
		"successful": model.Current,
		"failed":     model.Unhealthy,
		"error":      model.Unhealthy,
		"canceled":   model.Unhealthy,
		"new":        model.InProgress,
		"pending":    model.InProgress,
		"waiting":    model.InProgress,
		"running":    model.InProgress,
	})),
}}
