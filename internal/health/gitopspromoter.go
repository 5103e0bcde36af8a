package health

import (
	"strings"

	"plumb.dev/plumb/internal/model"
)

// gitOpsPromoter judges the kinds of the GitOps Promoter. All carry a Ready
// condition that names the generation it is about.
var gitOpsPromoter = system{group: "promoter.argoproj.io", kinds: map[string]rule{
	"ArgoCDCommitStatus":     first(promoterReady("Ready"), promoterSelection),
	"ChangeTransferPolicy":   first(promoterReady("Ready"), transferProgress),
	"ClusterScmProvider":     first(promoterReadyKnown, otherwise(model.Current, "the provider is ready")),
	"CommitStatus":           first(promoterReady("Ready"), otherwise(model.Current, "the commit status is reported")),
	"GitCommitStatus":        first(promoterReadyKnown, promoterEnvironments),
	"GitRepository":          first(promoterReadyKnown, otherwise(model.Current, "the repository is ready")),
	"PromotionStrategy":      first(promoterReady("Ready"), promotion),
	"PullRequest":            first(promoterReady("Reconciled", "Ready"), otherwise(model.Current, "the pull request is in step")),
	"ScmProvider":            first(promoterReadyKnown, otherwise(model.Current, "the provider is ready")),
	"TimedCommitStatus":      first(promoterReadyKnown, promoterEnvironments),
	"WebRequestCommitStatus": first(promoterReadyKnown, promoterEnvironments),
}}

// promoterReadyKnown is promoterReady for kinds where Unknown means that the
// controller is still at it.
func promoterReadyKnown(live fields) (model.Health, bool) {
	if health, ok := promoterReady("Ready")(live); ok {
		return health, true
	}
	return reported(when("Ready", "Unknown", model.InProgress))(live)
}

// promoterReady decides unless one of the conditions is there, about this
// generation, and not False.
func promoterReady(kinds ...string) clause {
	return func(live fields) (model.Health, bool) {
		found := false
		generation, numbered := live.whole("metadata", "generation")
		for _, c := range live.each("status", "conditions") {
			for _, kind := range kinds {
				if c.text("type") != kind {
					continue
				}
				found = true
				if seen, ok := c.whole("observedGeneration"); ok && numbered && seen != generation {
					return behind(live), true
				}
				if c.text("status") == "False" {
					return failed(or(c.text("reason"), "NotReady"), "%s", or(c.text("message"), "it is not ready")), true
				}
			}
		}
		return inProgress("NotReported", "it has not been reconciled yet"), !found
	}
}

func promoterSelection(live fields) (model.Health, bool) {
	applications := live.each("status", "applicationsSelected")
	if len(applications) == 0 {
		return failed("NoApplications", "it selects no application"), true
	}
	return current("it follows %d %s", len(applications), plural(len(applications), "application")), true
}

// promoterEnvironments judges gates: one that failed outweighs those that wait.
func promoterEnvironments(live fields) (model.Health, bool) {
	var broken, waiting []string
	for _, environment := range live.each("status", "environments") {
		branch := or(environment.text("branch"), "?")
		switch environment.text("phase") {
		case "failure":
			broken = append(broken, branch)
		case "success":
		default:
			waiting = append(waiting, branch)
		}
	}
	switch {
	case len(broken) > 0:
		return failed("Failed", "it failed for %s", strings.Join(broken, ", ")), true
	case len(waiting) > 0:
		return inProgress("Pending", "it waits for %s", strings.Join(waiting, ", ")), true
	}
	return current("nothing is held back"), true
}

// commitStatuses says which commit statuses are not successful, or "".
func commitStatuses(at fields) string {
	byPhase := map[string][]string{}
	for _, status := range at.each("commitStatuses") {
		phase := status.text("phase")
		byPhase[phase] = append(byPhase[phase], status.text("key"))
	}
	var parts []string
	for _, phase := range []string{"pending", "failure"} {
		if keys := byPhase[phase]; len(keys) > 0 {
			parts = append(parts, phase+": "+strings.Join(keys, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

func transferProgress(live fields) (model.Health, bool) {
	return environmentProgress(live.sub("status"), ""), true
}

// environmentProgress compares the commit that is active in an environment with
// the one that is proposed for it.
func environmentProgress(environment fields, where string) model.Health {
	active, proposed := environment.text("active", "dry", "sha"), environment.text("proposed", "dry", "sha")
	switch {
	case active == "":
		return inProgress("NoActiveCommit", "the active commit%s is not known yet", where)
	case proposed == "":
		return inProgress("NoProposedCommit", "the proposed commit%s is not known yet", where)
	case active != proposed:
		return inProgress("Promoting", "promotion%s from %s to %s%s", where, short(active), short(proposed),
			condition{message: commitStatuses(environment.sub("proposed"))}.because())
	}
	if open := commitStatuses(environment.sub("active")); open != "" {
		return current("commit %s is active%s, with statuses %s", short(active), where, open)
	}
	return current("commit %s is active%s", short(active), where)
}

func short(commit string) string {
	if len(commit) > 7 {
		return commit[:7]
	}
	return commit
}

// promotion is healthy once every environment runs the commit that the hydrator
// has proposed for all of them.
func promotion(live fields) (model.Health, bool) {
	environments := live.each("status", "environments")
	if len(environments) == 0 {
		return failed("NoEnvironments", "no environment is configured"), true
	}
	hydrated := map[string]bool{}
	for _, environment := range environments {
		where := " in " + environment.text("branch")
		proposed := or(environment.text("proposed", "note", "drySha"), environment.text("proposed", "dry", "sha"))
		switch {
		case environment.text("active", "dry", "sha") == "":
			return inProgress("NoActiveCommit", "the active commit%s is not known yet", where), true
		case proposed == "":
			return inProgress("NoProposedCommit", "the proposed commit%s is not known yet", where), true
		}
		hydrated[proposed] = true
	}
	if len(hydrated) > 1 {
		return inProgress("Hydrating", "not all environments have the same proposed commit: the hydrator has not run for all of them yet"), true
	}
	var last model.Health
	for _, environment := range environments {
		last = environmentProgress(environment, " in "+environment.text("branch"))
		if last.State != model.Current {
			return last, true
		}
	}
	return last, true
}
