package chart

import (
	"fmt"
	"maps"

	"helm.sh/helm/v4/pkg/chart/common"
)

// Two ways to bring values and a chart's defaults together (Helm,
// pkg/chart/common/util): a null in the values removes a default when they are
// coalesced, and stands for itself when they are merged, since a later
// coalescing is to see it.
type nulls bool

const (
	removeNulls nulls = false
	keepNulls   nulls = true
)

// coalesced are vals over the defaults of a chart and its subcharts. vals is
// left as it is.
func coalesced(c *instance, vals map[string]any, mode nulls) (map[string]any, error) {
	out := copyTable(vals)
	return out, c.fill(out, mode)
}

// fill puts the defaults of a chart and of its subcharts below dest, which
// becomes its owner.
func (c *instance) fill(dest map[string]any, mode nulls) error {
	c.fillOwn(dest, mode)
	for _, sub := range c.deps {
		there, ok := dest[sub.name]
		if !ok {
			there = map[string]any{}
			dest[sub.name] = there
		}
		below, ok := there.(map[string]any)
		if !ok {
			return fmt.Errorf("type mismatch on %s: the values of a subchart must be a table", sub.name)
		}
		passGlobals(below, dest)
		if err := sub.fill(below, mode); err != nil {
			return err
		}
	}
	return nil
}

// fillOwn puts the defaults of one chart below dest.
func (c *instance) fillOwn(dest map[string]any, mode nulls) {
	for key, shared := range c.values {
		has, ok := dest[key]
		switch {
		case ok && has == nil:
			if mode == removeNulls {
				delete(dest, key)
			}
		case ok:
			table, isTable := has.(map[string]any)
			defaults, isDefaults := shared.(map[string]any)
			if !isTable || !isDefaults {
				continue
			}
			inner := mode
			if c.hasSubchart(key) {
				inner = keepNulls
			}
			defaults = copyTable(defaults)
			if inner == removeNulls {
				dropNulls(defaults)
			}
			fillTable(table, defaults, inner)
		case mode == keepNulls:
			dest[key] = copyValue(shared)
		case shared != nil:
			value := copyValue(shared)
			if table, ok := value.(map[string]any); ok {
				dropNulls(table)
			}
			dest[key] = value
		}
	}
}

func (c *instance) hasSubchart(name string) bool {
	for _, sub := range c.deps {
		if sub.name == name {
			return true
		}
	}
	return false
}

// passGlobals hands the globals of a chart down to those of a subchart. What
// the chart says goes before what was meant for the subchart alone.
func passGlobals(to, from map[string]any) {
	down, ok := tableOrNew(to)
	if !ok {
		return
	}
	up, ok := tableOrNew(from)
	if !ok {
		return
	}
	for key, value := range up {
		table, isTable := value.(map[string]any)
		has, there := down[key]
		hasTable, hasIsTable := has.(map[string]any)
		switch {
		case isTable && !there:
			down[key] = maps.Clone(table)
		case isTable && hasIsTable:
			merged := maps.Clone(table)
			fillTable(merged, hasTable, keepNulls)
			down[key] = merged
		case isTable, there && hasIsTable:
		default:
			down[key] = value
		}
	}
	to[common.GlobalKey] = down
}

// tableOrNew returns the globals; false where they are no table.
func tableOrNew(values map[string]any) (map[string]any, bool) {
	value, ok := values[common.GlobalKey]
	if !ok {
		return map[string]any{}, true
	}
	table, ok := value.(map[string]any)
	return table, ok
}

// fillTable puts src below dst, table by table. It takes src over.
func fillTable(dst, src map[string]any, mode nulls) {
	for key, value := range src {
		has, ok := dst[key]
		switch {
		case !ok:
			dst[key] = value
		case has == nil:
			if mode == removeNulls && value != nil {
				delete(dst, key)
			}
		default:
			below, isTable := value.(map[string]any)
			table, hasIsTable := has.(map[string]any)
			if isTable && hasIsTable {
				fillTable(table, below, mode)
			}
		}
	}
}

func dropNulls(table map[string]any) {
	for key, value := range table {
		if value == nil {
			delete(table, key)
		} else if below, ok := value.(map[string]any); ok {
			dropNulls(below)
		}
	}
}

func copyTable(table map[string]any) map[string]any {
	out := make(map[string]any, len(table))
	for key, value := range table {
		out[key] = copyValue(value)
	}
	return out
}

// copyValue copies decoded YAML; what is no table and no list is a value.
func copyValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		return copyTable(v)
	case common.Values:
		return copyTable(v)
	case []any:
		if v == nil {
			return v
		}
		out := make([]any, len(v))
		for i := range v {
			out[i] = copyValue(v[i])
		}
		return out
	}
	return value
}
