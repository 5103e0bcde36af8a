// Package config reads the settings of an Argo CD installation: the ConfigMaps
// argocd-cm and argocd-cmd-params-cm. What Plumb does not act on is reported,
// key by key.
package config
