package project

import "slices"

// Field is a row of the compatibility table of AppProject. Every field of
// upstream is read; Note says more where there is more to know.
type Field struct {
	// Path is the field's place: [] stands for any index.
	Path string
	Note string
}

// Fields is the table, in the order of the documentation.
func Fields() []Field { return slices.Clone(fields) }

const (
	globs    = "globs; one that begins with ! denies"
	enforced = "decides about calls of the API and the console, and about tokens"
)

var fields = []Field{
	{"spec.description", ""},
	{"spec.sourceRepos[]", globs},
	{"spec.sourceNamespaces[]", "globs, or regular expressions between slashes"},
	{"spec.destinations[].server", globs},
	{"spec.destinations[].name", globs},
	{"spec.destinations[].namespace", globs},
	{"spec.permitOnlyProjectScopedClusters", ""},
	{"spec.clusterResourceWhitelist[].group", "without the list no cluster-scoped kind is permitted"},
	{"spec.clusterResourceWhitelist[].kind", ""},
	{"spec.clusterResourceWhitelist[].name", ""},
	{"spec.clusterResourceBlacklist[].group", ""},
	{"spec.clusterResourceBlacklist[].kind", ""},
	{"spec.clusterResourceBlacklist[].name", ""},
	{"spec.namespaceResourceWhitelist[].group", "without the list every namespaced kind is permitted"},
	{"spec.namespaceResourceWhitelist[].kind", ""},
	{"spec.namespaceResourceBlacklist[].group", ""},
	{"spec.namespaceResourceBlacklist[].kind", ""},
	{"spec.destinationServiceAccounts[].server", "globs"},
	{"spec.destinationServiceAccounts[].namespace", "globs"},
	{"spec.destinationServiceAccounts[].defaultServiceAccount", "acts at the destination where argocd-cm has application.sync.impersonation.enabled"},
	{"spec.orphanedResources.warn", ""},
	{"spec.orphanedResources.ignore[].group", ""},
	{"spec.orphanedResources.ignore[].kind", ""},
	{"spec.orphanedResources.ignore[].name", ""},
	{"spec.signatureKeys[].keyID", "counts where sourceIntegrity.git is not given; a finding otherwise"},
	{"spec.sourceIntegrity.git.policies[].repos[].url", globs},
	{"spec.sourceIntegrity.git.policies[].gpg.mode", "none, head or strict; strict looks at 250,000 commits at most"},
	{"spec.sourceIntegrity.git.policies[].gpg.keys[]", "key IDs or fingerprints of keys in argocd-gpg-keys-cm; a primary key stands for its subkeys too"},
	{"spec.syncWindows[].kind", ""},
	{"spec.syncWindows[].schedule", ""},
	{"spec.syncWindows[].duration", ""},
	{"spec.syncWindows[].timeZone", ""},
	{"spec.syncWindows[].applications[]", ""},
	{"spec.syncWindows[].namespaces[]", ""},
	{"spec.syncWindows[].clusters[]", ""},
	{"spec.syncWindows[].andOperator", ""},
	{"spec.syncWindows[].manualSync", ""},
	{"spec.syncWindows[].syncOverrun", ""},
	{"spec.syncWindows[].description", ""},
	{"spec.roles[].name", ""},
	{"spec.roles[].description", ""},
	{"spec.roles[].policies[]", enforced},
	{"spec.roles[].groups[]", enforced},
	{"spec.roles[].jwtTokens[].iat", enforced},
	{"spec.roles[].jwtTokens[].exp", enforced},
	{"spec.roles[].jwtTokens[].id", enforced},
}
