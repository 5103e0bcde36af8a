package argocd

import (
	"context"
)

// handlers are all calls, by service and name.
func (s *server) handlers() map[string]handler {
	type unary = func(context.Context, *call) (map[string]any, error)
	all := map[string]handler{}
	put := func(service string, calls map[string]unary) {
		for name, do := range calls {
			all[service+"/"+name] = handler{unary: do}
		}
	}
	put("account.AccountService", map[string]unary{
		"CanI": s.canI, "UpdatePassword": s.updatePassword, "ListAccounts": s.listAccounts, "GetAccount": s.getAccount,
		"CreateToken": s.createToken, "DeleteToken": s.deleteToken,
	})
	put("application.ApplicationService", map[string]unary{
		"List": s.listApplications, "Get": s.getApplication, "Create": s.createApplication, "Update": s.updateApplication,
		"UpdateSpec": s.updateSpec, "Patch": s.patchApplication, "Delete": s.deleteApplication,
		"Sync": s.sync, "Rollback": s.rollback, "TerminateOperation": s.terminate,
		"GetApplicationSyncWindows": s.applicationWindows,
		"RevisionMetadata":          s.revisionMetadata, "RevisionChartDetails": s.chartDetails, "GetOCIMetadata": s.ociMetadata,
		"GetManifests": s.manifests, "GetManifestsWithFiles": s.localManifests, "ManagedResources": s.managedResources, "ServerSideDiff": s.serverSideDiff,
		"ResourceTree": s.resourceTree, "GetResource": s.getResource, "PatchResource": s.patchResource, "DeleteResource": s.deleteResource,
		"ListResourceActions": s.listActions, "RunResourceAction": s.runAction, "RunResourceActionV2": s.runAction,
		"ListResourceEvents": s.resourceEvents, "ListLinks": s.applicationLinks, "ListResourceLinks": s.resourceLinks,
	})
	put("applicationset.ApplicationSetService", map[string]unary{
		"Get": s.getSet, "List": s.listSets, "Create": s.createSet, "Delete": s.deleteSet, "Generate": s.generateSet,
		"ResourceTree": s.setTree, "ListResourceEvents": s.setEvents,
	})
	put("project.ProjectService", map[string]unary{
		"CreateToken": s.createProjectToken, "DeleteToken": s.deleteProjectToken,
		"Create": s.createProject, "List": s.listProjects, "Get": s.getProject, "Update": s.updateProject, "Delete": s.deleteProject,
		"GetDetailedProject": s.detailedProject, "GetGlobalProjects": s.globalProjects, "ListEvents": s.projectEvents,
		"GetSyncWindowsState": s.projectWindows, "ListLinks": s.projectLinks,
	})
	put("repository.RepositoryService", map[string]unary{
		"List": s.listRepositories(reading), "ListRepositories": s.listRepositories(reading), "ListWriteRepositories": s.listRepositories(writing),
		"Get": s.getRepository(reading), "GetWrite": s.getRepository(writing),
		"Create": s.createRepository(reading), "CreateRepository": s.createRepository(reading), "CreateWriteRepository": s.createRepository(writing),
		"Update": s.updateRepository(reading), "UpdateRepository": s.updateRepository(reading), "UpdateWriteRepository": s.updateRepository(writing),
		"Delete": s.deleteRepository(reading), "DeleteRepository": s.deleteRepository(reading), "DeleteWriteRepository": s.deleteRepository(writing),
		"ValidateAccess": s.validateRepository(reading), "ValidateWriteAccess": s.validateRepository(writing),
		"ListRefs": s.looked("branches and tags"), "ListOCITags": s.looked("tags"), "ListApps": s.looked("applications"),
		"GetAppDetails": s.looked("parameters"), "GetHelmCharts": s.looked("charts"),
	})
	put("repocreds.RepoCredsService", map[string]unary{
		"ListRepositoryCredentials": s.listCredentials(readingCredentials), "ListWriteRepositoryCredentials": s.listCredentials(writingCredentials),
		"CreateRepositoryCredentials": s.createCredentials(readingCredentials), "CreateWriteRepositoryCredentials": s.createCredentials(writingCredentials),
		"UpdateRepositoryCredentials": s.updateCredentials(readingCredentials), "UpdateWriteRepositoryCredentials": s.updateCredentials(writingCredentials),
		"DeleteRepositoryCredentials": s.deleteCredentials(readingCredentials), "DeleteWriteRepositoryCredentials": s.deleteCredentials(writingCredentials),
	})
	put("cluster.ClusterService", map[string]unary{
		"List": s.listClusters, "Create": s.createCluster, "Get": s.getCluster, "Update": s.updateCluster, "Delete": s.deleteCluster,
		"RotateAuth": s.rotateAuth, "InvalidateCache": s.forgetCluster,
	})
	put("certificate.CertificateService", map[string]unary{
		"ListCertificates": s.listCertificates, "CreateCertificate": s.createCertificates, "DeleteCertificate": s.deleteCertificates,
	})
	put("gpgkey.GPGKeyService", map[string]unary{"List": s.listKeys, "Get": s.getKey, "Create": s.createKeys, "Delete": s.deleteKey})
	put("notification.NotificationService", map[string]unary{
		"ListTriggers": s.notifications("trigger."), "ListServices": s.notifications("service."), "ListTemplates": s.notifications("template."),
	})
	for key, do := range map[string]unary{
		"session.SessionService/GetUserInfo": s.userInfo, "session.SessionService/Create": s.signIn, "session.SessionService/Delete": s.signOut,
		"cluster.SettingsService/Get": s.serverSettings, "cluster.SettingsService/GetPlugins": s.plugins, "version.VersionService/Version": s.version,
	} {
		all[key] = handler{unary: do, open: key != "cluster.SettingsService/GetPlugins"}
	}
	// What is watched is judged object by object; of the others the rule is asked
	// again while they go on.
	all["application.ApplicationService/Watch"] = handler{stream: s.watchApplications}
	all["application.ApplicationService/WatchResourceTree"] = handler{stream: s.watchResourceTree, may: s.mayWatchTree}
	all["application.ApplicationService/PodLogs"] = handler{stream: s.podLogs, may: s.mayReadLogs}
	all["applicationset.ApplicationSetService/Watch"] = handler{stream: s.watchSets}
	return all
}

// notifications lists what argocd-notifications-cm has of a kind, by the
// beginning of its keys.
func (s *server) notifications(prefix string) func(context.Context, *call) (map[string]any, error) {
	return func(ctx context.Context, c *call) (map[string]any, error) {
		o, _, err := s.configMap(ctx, "argocd-notifications-cm")
		if err != nil {
			return nil, err
		}
		out := []any{}
		for key := range object(o.Object, "data") {
			if name := key[min(len(prefix), len(key)):]; key[:min(len(prefix), len(key))] == prefix && name != "" {
				out = append(out, map[string]any{"name": name})
			}
		}
		sortByText(out, "name")
		return map[string]any{"items": out}, nil
	}
}
