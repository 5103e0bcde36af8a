package helmrepo

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"sigs.k8s.io/yaml"
)

// helmIndex and helmVersion are repo.IndexFile and repo.ChartVersion, which
// cannot be imported without Helm's command line and all its plugins.
type helmIndex struct {
	ServerInfo  map[string]any            `json:"serverInfo,omitempty"`
	APIVersion  string                    `json:"apiVersion"`
	Generated   time.Time                 `json:"generated"`
	Entries     map[string][]*helmVersion `json:"entries"`
	PublicKeys  []string                  `json:"publicKeys,omitempty"`
	Annotations map[string]string         `json:"annotations,omitempty"`
}

type helmVersion struct {
	*chart.Metadata
	URLs          []string  `json:"urls"`
	Created       time.Time `json:"created"`
	Removed       bool      `json:"removed,omitempty"`
	Digest        string    `json:"digest,omitempty"`
	Checksum      string    `json:"checksum,omitempty"`
	Engine        string    `json:"engine,omitempty"`
	TillerVersion string    `json:"tillerVersion,omitempty"`
	URL           string    `json:"url,omitempty"`
}

// loadHelmIndex does what repo.LoadIndexFile does, with the parser and the
// validation that it uses.
func loadHelmIndex(name string) (*helmIndex, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, errors.New("empty")
	}
	var x helmIndex
	if json.Valid(text) {
		err = json.Unmarshal(text, &x)
	} else {
		err = yaml.UnmarshalStrict(text, &x)
	}
	if err != nil {
		return nil, err
	}
	for name, versions := range x.Entries {
		x.Entries[name] = slices.DeleteFunc(versions, func(v *helmVersion) bool { return v == nil || !v.holds() })
		sort.Slice(x.Entries[name], func(i, j int) bool {
			return x.Entries[name][i].parsed().GreaterThan(x.Entries[name][j].parsed())
		})
	}
	if x.APIVersion == "" {
		return nil, errors.New("no API version")
	}
	return &x, nil
}

func (v *helmVersion) holds() bool {
	if v.Metadata == nil {
		v.Metadata = &chart.Metadata{}
	}
	if v.APIVersion == "" {
		v.APIVersion = chart.APIVersionV1
	}
	err := v.Validate()
	return err == nil || strings.HasPrefix(err.Error(), "validation: more than one dependency with name or alias")
}

func (v *helmVersion) parsed() *semver.Version { return semver.MustParse(v.Version) }
