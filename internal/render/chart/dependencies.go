package chart

import (
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/util"
)

// instance is a chart as one render sees it: under its alias, with the
// subcharts that are enabled and the values that it imports from them.
type instance struct {
	*Chart
	name   string
	meta   *v2.Metadata
	values map[string]any // never changed in place
	deps   []*instance
	parent *instance
}

// instantiate returns what a render may change of a chart.
func instantiate(c *Chart, parent *instance) *instance {
	i := &instance{Chart: c, name: c.Metadata.Name, meta: copyMetadata(c.Metadata), values: c.Values, parent: parent}
	for _, sub := range c.Charts {
		i.deps = append(i.deps, instantiate(sub, i))
	}
	return i
}

func copyMetadata(m *v2.Metadata) *v2.Metadata {
	out := *m
	if m.Dependencies != nil {
		out.Dependencies = make([]*v2.Dependency, len(m.Dependencies))
		for i, d := range m.Dependencies {
			if d != nil {
				own := *d
				out.Dependencies[i] = &own
			}
		}
	}
	return &out
}

// fullName is the path of the chart by names, under which its templates are
// known.
func (c *instance) fullName() string {
	if c.parent == nil {
		return c.name
	}
	return c.parent.fullName() + "/charts/" + c.name
}

// processDependencies settles which subcharts a chart has, under which names,
// and what they export (Helm, pkg/chart/v2/util, ProcessDependencies).
func (c *instance) processDependencies(vals map[string]any) error {
	if err := c.enable(vals, ""); err != nil {
		return err
	}
	return c.importValues()
}

// enable gives subcharts their aliases and leaves out those whose tags or
// conditions say so. path is where the values of the chart stand in vals.
func (c *instance) enable(vals map[string]any, path string) error {
	if c.meta.Dependencies == nil {
		return nil
	}
	c.alias()
	for _, d := range c.meta.Dependencies {
		d.Enabled = true
	}
	all, err := coalesced(c, vals, removeNulls)
	if err != nil {
		return err
	}
	byTags(c.meta.Dependencies, all)
	byConditions(c.meta.Dependencies, all, path)
	c.dropDisabled()
	for _, sub := range c.deps {
		if err := sub.enable(all, path+sub.name+"."); err != nil {
			return err
		}
	}
	return nil
}

// alias makes one subchart of each declared dependency, in that order, after
// those that nothing declares.
func (c *instance) alias() {
	var deps []*instance
	for _, there := range c.deps {
		if !c.declares(there) {
			deps = append(deps, there)
		}
	}
	for _, d := range c.meta.Dependencies {
		for _, there := range c.deps {
			if there.Metadata.Name != d.Name || !util.IsCompatibleRange(d.Version, there.Metadata.Version) {
				continue
			}
			one := instantiate(there.Chart, c)
			if d.Alias != "" {
				one.name, one.meta.Name = d.Alias, d.Alias
			}
			deps = append(deps, one)
			break
		}
		if d.Alias != "" {
			d.Name = d.Alias
		}
	}
	c.deps = deps
}

func (c *instance) declares(sub *instance) bool {
	for _, d := range c.meta.Dependencies {
		if sub.Metadata.Name == d.Name && util.IsCompatibleRange(d.Version, sub.Metadata.Version) {
			return true
		}
	}
	return false
}

// byTags switches dependencies off all of whose tags that have a value are
// false.
func byTags(deps []*v2.Dependency, vals map[string]any) {
	tags, ok := vals["tags"].(map[string]any)
	if !ok {
		return
	}
	for _, d := range deps {
		on, off := false, false
		for _, tag := range d.Tags {
			if value, ok := tags[tag].(bool); ok {
				on, off = on || value, off || !value
			}
		}
		d.Enabled = on || !off
	}
}

// byConditions lets the first condition that has a truth value decide.
func byConditions(deps []*v2.Dependency, vals map[string]any, path string) {
	for _, d := range deps {
		for _, condition := range strings.Split(strings.TrimSpace(d.Condition), ",") {
			if condition == "" {
				continue
			}
			if value, err := common.Values(vals).PathValue(path + condition); err == nil {
				if on, ok := value.(bool); ok {
					d.Enabled = on
					break
				}
			}
		}
	}
}

func (c *instance) dropDisabled() {
	off := map[string]bool{}
	for _, d := range c.meta.Dependencies {
		if !d.Enabled {
			off[d.Name] = true
		}
	}
	var declared []*v2.Dependency
	for _, d := range c.meta.Dependencies {
		if !off[d.Name] {
			declared = append(declared, d)
		}
	}
	c.meta.Dependencies = declared
	var deps []*instance
	for _, sub := range c.deps {
		if !off[sub.name] {
			deps = append(deps, sub)
		}
	}
	c.deps = deps
}

// importValues takes what subcharts export into the values of their parents,
// from the bottom up. The parent's own values go before what it imports.
func (c *instance) importValues() error {
	for _, sub := range c.deps {
		if err := sub.importValues(); err != nil {
			return err
		}
	}
	if c.meta.Dependencies == nil {
		return nil
	}
	all, err := coalesced(c, nil, keepNulls)
	if err != nil {
		return err
	}
	imported := map[string]any{}
	for _, d := range c.meta.Dependencies {
		var done []any
		for _, one := range d.ImportValues {
			child, parent, ok := importOf(one)
			if !ok {
				continue
			}
			done = append(done, map[string]string{"child": child, "parent": parent})
			if table, err := common.Values(all).Table(d.Name + "." + child); err == nil {
				fillTable(imported, under(parent, copyTable(table)), keepNulls)
			}
		}
		d.ImportValues = done
	}
	fillTable(all, copyTable(imported), keepNulls)
	c.values = all
	return nil
}

// importOf reads an entry of import-values: a name below "exports" of the
// child, or where to take from and where to put.
func importOf(entry any) (child, parent string, ok bool) {
	switch e := entry.(type) {
	case string:
		return "exports." + e, ".", true
	case map[string]any:
		return fmt.Sprintf("%v", e["child"]), fmt.Sprintf("%v", e["parent"]), true
	}
	return "", "", false
}

func under(path string, table map[string]any) map[string]any {
	if path == "." {
		return table
	}
	keys := strings.Split(path, ".")
	for i := len(keys) - 1; i >= 0; i-- {
		table = map[string]any{keys[i]: table}
	}
	return table
}
