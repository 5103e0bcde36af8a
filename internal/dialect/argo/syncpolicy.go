package argo

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// Defaults of retries (application_defaults.go; autoSync).
const (
	retryLimit    = 5
	retryDuration = 5 * time.Second
	retryFactor   = 2
	retryMax      = 3 * time.Minute
	maxPause      = 365 * 24 * time.Hour
)

// automated is spec.syncPolicy.automated.
type automated struct {
	enabled, prune, selfHeal, allowEmpty bool
}

func readAutomated(policy node) automated {
	field := policy.At("automated")
	out := automated{
		enabled:    field.Present(),
		prune:      field.At("prune").Bool(),
		selfHeal:   field.At("selfHeal").Bool(),
		allowEmpty: field.At("allowEmpty").Bool(),
	}
	if enabled := field.At("enabled"); enabled.Present() {
		out.enabled = enabled.Bool()
	}
	if !out.enabled {
		return automated{}
	}
	return out
}

// syncPolicy reads spec.syncPolicy.
func (c *compilation) syncPolicy(spec node) (model.SyncPolicy, automated) {
	policy := spec.At("syncPolicy")
	auto := readAutomated(policy)
	out := model.SyncPolicy{
		Staged:       true,
		Manual:       !auto.enabled,
		AllowEmpty:   auto.allowEmpty,
		Quarantined:  c.declared.GetAnnotations()[AnnotationQuarantine],
		Windows:      c.project.Windows(c.r.ID.Name, c.place),
		Options:      syncOptions(policy.At("syncOptions")),
		Orphans:      c.project.Orphans,
		WaveDelay:    c.settings.WaveDelay,
		HistoryLimit: int(min(spec.At("revisionHistoryLimit").Int(defaultHistoryLimit), math.MaxInt32)),
	}
	if out.HistoryLimit < 0 {
		out.HistoryLimit = 0
	}
	metadata := policy.At("managedNamespaceMetadata")
	out.Options.NamespaceLabels = metadata.At("labels").StringMap()
	out.Options.NamespaceNotes = metadata.At("annotations").StringMap()
	c.migration(&out.Options)
	out.Retry = &model.Retry{Limit: retryLimit, Duration: retryDuration, Factor: retryFactor, Max: retryMax}
	if retry := policy.At("retry"); retry.Present() {
		out.Retry = readRetry(retry)
	}
	return out, auto
}

// migration names the manager whose fields are taken over.
func (c *compilation) migration(options *model.SyncOptions) {
	options.MigrateManager = c.declared.GetAnnotations()[annotationManager]
}

// readRetry is nil where nothing is tried again (RetryStrategy).
func readRetry(retry node) *model.Retry {
	backoff := retry.At("backoff")
	limit := retry.At("limit").Int(0)
	out := &model.Retry{
		Limit:    int(max(min(limit, math.MaxInt32), -1)),
		Duration: pause(backoff.At("duration"), retryDuration),
		Factor:   int(max(min(backoff.At("factor").Int(retryFactor), math.MaxInt16), 1)),
		Max:      pause(backoff.At("maxDuration"), retryMax),
		Refresh:  retry.At("refresh").Bool(),
	}
	if out.Max == 0 { // no bound
		out.Max = maxPause
	}
	if limit == 0 {
		return nil
	}
	return out
}

// pause is a number of seconds, or a duration.
func pause(field node, fallback time.Duration) time.Duration {
	text := field.Str()
	if text == "" {
		return fallback
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 && seconds <= int64(maxPause/time.Second) {
		return time.Duration(seconds) * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxPause {
		field.Invalid("unable to parse %s as a duration", reader.Clip(text, 40))
		return fallback
	}
	return d
}

// optionValues are the values that each option may have (docs, "Sync
// Options").
var optionValues = map[string][]string{
	"Validate":                    {"true", "false"},
	"CreateNamespace":             {"true", "false"},
	"PrunePropagationPolicy":      {"foreground", "background", "orphan"},
	"PruneLast":                   {"true", "false"},
	"Replace":                     {"true", "false"},
	"Force":                       {"true", "false"},
	"ServerSideApply":             {"true", "false"},
	"ClientSideApplyMigration":    {"true", "false"},
	"FailOnSharedResource":        {"true", "false"},
	"RespectIgnoreDifferences":    {"true", "false"},
	"ApplyOutOfSyncOnly":          {"true", "false"},
	"SkipDryRunOnMissingResource": {"true", "false"},
	"Prune":                       {"true", "false", "confirm"},
	"Delete":                      {"true", "false", "confirm"},
}

// syncOptions reads "Name=value" lines. What upstream does not know has no
// effect there and is reported here.
func syncOptions(list node) model.SyncOptions {
	lines := list.Strings()
	has := func(line string) bool { return slices.Contains(lines, line) }
	for i, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		if values, known := optionValues[name]; !known || !slices.Contains(values, value) {
			list.R.Find(model.Warning, reasonUnknownValue, list.Items()[i].Path, "%q is no sync option with a value that is known: it has no effect", reader.Clip(line, 100))
		}
	}
	out := model.SyncOptions{
		SkipValidation:    has("Validate=false"),
		CreateNamespace:   has("CreateNamespace=true"),
		PruneLast:         has("PruneLast=true"),
		Replace:           has("Replace=true"),
		Force:             has("Force=true"),
		ServerSide:        has("ServerSideApply=true"),
		FailOnShared:      has("FailOnSharedResource=true"),
		LeaveIgnored:      has("RespectIgnoreDifferences=true"),
		OutOfSyncOnly:     has("ApplyOutOfSyncOnly=true"),
		SkipDryRunMissing: has("SkipDryRunOnMissingResource=true"),
		NoMigration:       has("ClientSideApplyMigration=false"),
	}
	for _, policy := range []string{"background", "foreground", "orphan"} {
		if out.Propagation == "" && has("PrunePropagationPolicy="+policy) {
			out.Propagation = policy
		}
	}
	out.PruneDefault, out.DeleteDefault = restraint(lines, "Prune"), restraint(lines, "Delete")
	return out
}

// restraint is "false" or "confirm", "" where the option takes nothing away.
func restraint(lines []string, name string) string {
	value, _ := optionValue(lines, name)
	if value == "false" || value == "confirm" {
		return value
	}
	return ""
}
