package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"plumb.dev/plumb/internal/model"
)

const keyCustomizations = "resource.customizations"

// customization is what is said about one kind, from either form of the
// setting (v1alpha1.ResourceOverride).
type customization struct {
	health         string
	openLibs       bool
	differences    differences
	differencesKey string // of the ConfigMap, for origins
	known          []knownType
	knownKey       string
}

type differences struct {
	JSONPointers          []string `json:"jsonPointers"`
	JQPathExpressions     []string `json:"jqPathExpressions"`
	ManagedFieldsManagers []string `json:"managedFieldsManagers"`
}

func (d differences) empty() bool {
	return len(d.JSONPointers) == 0 && len(d.JQPathExpressions) == 0 && len(d.ManagedFieldsManagers) == 0
}

type knownType struct {
	Field string `json:"field"`
	Type  string `json:"type"`
}

// customizations reads resource.customizations and the split keys, which go
// before it.
func (r *reader) customizations(data map[string]string) {
	found := map[string]*customization{} // by override key: "group/Kind", "Kind"
	r.joined(data, found)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		r.split(key, data[key], found)
	}
	r.apply(found)
}

// joined reads the older form: one document, in which some values are
// documents again.
func (r *reader) joined(data map[string]string, found map[string]*customization) {
	type entry struct {
		Health            string      `json:"health.lua"`
		OpenLibs          bool        `json:"health.lua.useOpenLibs"`
		IgnoreDifferences string      `json:"ignoreDifferences"`
		KnownTypeFields   []knownType `json:"knownTypeFields"`
	}
	entries, _ := document[map[string]entry](r, data, keyCustomizations)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		ignored, err := decode[differences](e.IgnoreDifferences)
		if err != nil {
			r.invalid(keyCustomizations, "ignoreDifferences of %s %s", clipKey(name), err)
		}
		found[name] = &customization{
			health: e.Health, openLibs: e.OpenLibs,
			differences: ignored, differencesKey: keyCustomizations,
			known: e.KnownTypeFields, knownKey: keyCustomizations,
		}
	}
}

// split reads one key of the newer form,
// resource.customizations.<what>.<group_kind>.
func (r *reader) split(key, value string, found map[string]*customization) {
	rest, ok := strings.CutPrefix(key, keyCustomizations+".")
	if !ok {
		return
	}
	what, groupKind, ok := strings.Cut(rest, ".")
	if !ok {
		return
	}
	name, err := overrideKey(groupKind)
	if err != nil {
		r.invalid(key, "%s", err)
		return
	}
	c := found[name]
	if c == nil {
		c = &customization{}
		found[name] = c
	}
	switch what {
	case "health":
		c.health = value
	case "useOpenLibs":
		c.openLibs, err = strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			err = errors.New("must be true or false")
		}
	case "ignoreDifferences":
		c.differencesKey = key
		c.differences, err = decode[differences](value)
	case "knownTypeFields":
		c.knownKey = key
		c.known, err = decode[[]knownType](value)
	case "ignoreResourceUpdates", "actions": // told of by the table of keys
	default:
		err = errors.New("no customization has this name")
	}
	if err != nil {
		r.invalid(key, "%s", err)
	}
}

// overrideKey reads "<group>_<Kind>", "<Kind>" of the core group, or "all".
func overrideKey(groupKind string) (string, error) {
	parts := strings.Split(groupKind, "_")
	switch {
	case groupKind == "all":
		return "*/*", nil
	case groupKind == "" || len(parts) > 2:
		return "", errors.New("the key must end in <group>_<Kind>, or in <Kind> of the core group")
	}
	return strings.Join(parts, "/"), nil
}

func (r *reader) apply(found map[string]*customization) {
	s := &r.settings
	rules := model.HealthRules{Scripts: map[string]string{}, OpenLibs: map[string]bool{}}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c := found[name]
		group, kind := groupKindOf(name)
		full := group + "/" + kind
		if strings.TrimSpace(c.health) != "" {
			rules.Scripts[full] = c.health
			if c.openLibs {
				rules.OpenLibs[full] = true
			}
			texts = append(texts, full, c.health, strconv.FormatBool(c.openLibs))
		}
		if rule, ok := r.ignoreRule(c, group, kind); ok {
			s.Ignore = append(s.Ignore, rule)
		}
		r.knownTypes(c, full)
	}
	if len(rules.Scripts) > 0 {
		rules.Digest = digest(texts...)
		s.Health = &rules
	}
}

// groupKindOf reads the key of an override: without a slash it is a kind of
// the core group.
func groupKindOf(name string) (group, kind string) {
	if group, kind, ok := strings.Cut(name, "/"); ok {
		return group, kind
	}
	return "", name
}

func (r *reader) ignoreRule(c *customization, group, kind string) (model.IgnoreRule, bool) {
	if c.differences.empty() {
		return model.IgnoreRule{}, false
	}
	rule := model.IgnoreRule{
		Paths:       c.differences.JSONPointers,
		Queries:     c.differences.JQPathExpressions,
		Managers:    c.differences.ManagedFieldsManagers,
		CompareOnly: true,
		Origin:      r.origin(c.differencesKey),
	}
	if group != "*" || kind != "*" {
		rule.Target = &model.Selector{Group: Pattern(group), Kind: Pattern(kind)}
	}
	return rule, true
}

func (r *reader) knownTypes(c *customization, full string) {
	for i, known := range c.known {
		if known.Field == "" || known.Type == "" {
			r.invalid(c.knownKey, "knownTypeFields[%d] needs both field and type", i)
			continue
		}
		if r.settings.Compare.KnownTypes == nil {
			r.settings.Compare.KnownTypes = map[string]map[string]string{}
		}
		if r.settings.Compare.KnownTypes[full] == nil {
			r.settings.Compare.KnownTypes[full] = map[string]string{}
		}
		r.settings.Compare.KnownTypes[full][known.Field] = known.Type
	}
}

// labelSelector reads a metav1.LabelSelector; an empty one matches everything.
func labelSelector(fields map[string]any) (labels.Selector, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	var selector metav1.LabelSelector
	if err := json.Unmarshal(text, &selector); err != nil {
		return nil, fmt.Errorf("it is no label selector: %w", err)
	}
	return metav1.LabelSelectorAsSelector(&selector)
}
