package chart

import (
	"encoding/json"

	"helm.sh/helm/v4/pkg/chart/common"
)

// capabilities is .Capabilities of templates: Helm's type, as templates see
// it, with questions about the kinds that are served instead of their list.
type capabilities struct {
	KubeVersion common.KubeVersion
	HelmVersion any // common.Capabilities.HelmVersion
	run         *run
}

// HasAPI is what templates call .Capabilities.APIVersions.Has.
func (c *capabilities) HasAPI(api string) (bool, error) {
	if c.run.target.HasAPI == nil {
		return false, nil
	}
	served, err := c.run.target.HasAPI(api)
	if err != nil {
		return false, c.run.fail(err)
	}
	return served, nil
}

// APIVersions is the list, for templates that want all of it.
func (c *capabilities) APIVersions() (common.VersionSet, error) {
	if c.run.apis == nil && c.run.target.APIs != nil {
		apis, err := c.run.target.APIs()
		if err != nil {
			return nil, c.run.fail(err)
		}
		c.run.apis = apis
	}
	return c.run.apis, nil
}

// MarshalJSON writes what Helm's type is written as.
func (c *capabilities) MarshalJSON() ([]byte, error) {
	apis, err := c.APIVersions()
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		KubeVersion common.KubeVersion
		APIVersions common.VersionSet
		HelmVersion any
	}{c.KubeVersion, apis, c.HelmVersion})
}
