package health

import "plumb.dev/plumb/internal/model"

// argo judges the kinds of the Argo projects: CD, Rollouts, Workflows, Events.
// A Rollout's rule is in rollout.go.
var argo = system{group: "argoproj.io", kinds: map[string]rule{
	"Application":    application,
	"ApplicationSet": first(applicationSetConditions),
	"AnalysisRun":    analysisRun,
	"Experiment":     analysisRun,
	"CronWorkflow":   first(cronWorkflowConditions, otherwise(model.Current, "it waits for its next run")),
	"EventBus":       first(conditionBoth("Deployed")),
	"Rollout":        argoRollout,
	"Workflow":       workflow,
}}

// application is as healthy as what it delivers: its controller says so in
// status.health. What it has said nothing of is in progress, as in the
// documentation of app of apps.
func application(live fields) model.Health {
	message := live.text("status", "health", "message")
	said := live.text("status", "health", "status")
	switch state, ok := argoStates[said]; {
	case said == "":
		return inProgress("NotReported", "the application has not been looked at yet")
	case ok:
		return verdict(state, said, "%s", or(message, "the application is "+said))
	}
	return unknown("InvalidHealthStatus", "the application has health %q, which does not exist", said)
}

var applicationSetConditions = ranked(
	when("ErrorOccurred", "True", model.Unhealthy),
	when("ResourcesUpToDate", "False", model.Unhealthy),
	when("RolloutProgressing", "True", model.InProgress),
	when("ResourcesUpToDate", "True", model.Current),
)

var cronWorkflowConditions = reported(
	when("SpecError", "True", model.Unhealthy),
	when("SubmissionError", "True", model.Unhealthy),
	when("Completed", "True", model.Current),
)

var analysisRun = first(word("status.phase", words{
	"Pending":      model.InProgress,
	"Running":      model.InProgress,
	"Successful":   model.Current,
	"Failed":       model.Unhealthy,
	"Error":        model.Unhealthy,
	"Inconclusive": model.Unknown,
}))

var workflow = first(wordElse("status.phase", words{
	"":          model.InProgress,
	"Pending":   model.InProgress,
	"Running":   model.InProgress,
	"Succeeded": model.Current,
	"Failed":    model.Unhealthy,
	"Error":     model.Unhealthy,
}, model.Unknown))
