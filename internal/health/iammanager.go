package health

import "plumb.dev/plumb/internal/model"

// iamManager judges the roles of Keiko's iam-manager.
var iamManager = system{group: "iammanager.keikoproj.io", kinds: map[string]rule{"Iamrole": first(iamRole)}}

func iamRole(live fields) (model.Health, bool) {
	role := or(live.text("status", "roleName"), "(unnamed)")
	switch state := live.text("status", "state"); state {
	case "Ready":
		return current("role %s exists (%s)", role, or(live.text("status", "roleARN"), "no ARN")), true
	case "Error", "RolesMaxLimitReached", "PolicyNotAllowed", "RoleNameNotAvailable":
		return failed(state, "role %s: %s", role, or(live.text("status", "errorDescription"), state)), true
	}
	return model.Health{}, false
}
