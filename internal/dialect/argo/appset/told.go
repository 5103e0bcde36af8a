package appset

import (
	"encoding/json"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
)

const (
	maxTold      = 100 // parameters that are told of one Application
	maxToldValue = 400 // bytes of each
)

// lastApplied is a copy of a whole Secret of a cluster, where kubectl made it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// told is one set of parameters for people to see: a JSON object of texts, with
// dots in the names of what is nested; nil when there are none. Values are cut,
// and no more than maxTold of them are kept.
func told(with params) []byte {
	flat := flatStrings(with)
	kept := map[string]string{}
	for _, name := range reader.SortedKeys(flat) {
		if len(kept) < maxTold && !strings.HasSuffix(name, lastApplied) {
			kept[name] = reader.Clip(flat[name], maxToldValue)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil
	}
	return text
}
