package health

import "plumb.dev/plumb/internal/model"

// The kinds of the operator for MariaDB, under its name of today and its first.
var (
	mariaDB = system{group: "k8s.mariadb.com", kinds: map[string]rule{
		"Backup":   first(mariaFalse(func(c condition) bool { return c.reason == "CronJobScheduled" && c.message == "Failed" })),
		"Database": mariaReady,
		"Grant":    mariaReady,
		"MariaDB":  mariaServer,
		"SqlJob": first(reported(
			when("", "True", model.Current).with("JobComplete"), when("", "True", model.Unhealthy).with("JobFailed"))),
		"User": mariaReady,
	}}
	mariaDBFirst = system{group: "mariadb.mmontes.io", kinds: shared(mariaServer, "MariaDB")}
)

var mariaReady = first(reported(when("Ready", "True", model.Current), when("Ready", "", model.Unhealthy)))

var mariaServer = first(mariaFalse(func(c condition) bool { return c.reason == "Failed" }))

// mariaFalse is in progress by the first condition that is False, or unhealthy
// when that one tells of a failure; healthy when none is.
func mariaFalse(failure func(condition) bool) clause {
	return func(live fields) (model.Health, bool) {
		for _, c := range live.conditions() {
			switch {
			case c.status == "False" && failure(c):
				return failed(or(c.reason, "Failed"), "%s", c.said()), true
			case c.status == "False":
				return inProgress(or(c.reason, "NotReady"), "%s", c.said()), true
			}
		}
		return current("every condition holds"), live.has("status", "conditions")
	}
}
