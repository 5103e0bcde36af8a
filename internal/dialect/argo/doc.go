// Package argo understands Argo CD: Application, AppProject and ApplicationSet
// of argoproj.io/v1alpha1, and the Secrets, ConfigMaps and annotations that
// steer them. It turns them into the nouns of the engine and the engine's
// reports into the statuses that the argocd command line and its web interface
// read.
//
//	config      argocd-cm and argocd-cmd-params-cm
//	repository  repository Secrets → implied sources
//	project     AppProjects: what Applications may do
//	appset      ApplicationSets → Applications
//	status      reports → the status of an Application
//
// A render's environment (model.Render.Environment) holds what is known when
// an Application is compiled. ARGOCD_APP_REVISION, ARGOCD_APP_REVISION_SHORT
// and ARGOCD_APP_REVISION_SHORT_8 are known when a tree is: whoever renders
// adds the commit, and its first 7 and 8 characters.
//
// What upstream accepts is accepted. A field that is not acted on, or in
// another way, is a finding at its path; the table of fields is in Fields.
package argo
