package gate

import (
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestExcluded(t *testing.T) {
	pod, event := object.ID{Kind: "Pod"}, object.ID{Group: "events.k8s.io", Kind: "Event"}
	all := model.KindRule{Group: "*", Kind: "*"}
	for name, c := range map[string]struct {
		filter model.KindFilter
		id     object.ID
		want   bool
	}{
		"nothing is left out":           {id: pod},
		"by kind":                       {filter: model.KindFilter{Exclude: []model.KindRule{{Group: "", Kind: "Pod"}}}, id: pod, want: true},
		"another group":                 {filter: model.KindFilter{Exclude: []model.KindRule{{Group: "events.k8s.io", Kind: "*"}}}, id: pod},
		"by pattern":                    {filter: model.KindFilter{Exclude: []model.KindRule{{Group: "*.k8s.io", Kind: "*"}}}, id: event, want: true},
		"not included":                  {filter: model.KindFilter{Restricted: true, Include: []model.KindRule{{Group: "apps", Kind: "*"}}}, id: pod, want: true},
		"included":                      {filter: model.KindFilter{Restricted: true, Include: []model.KindRule{all}}, id: pod},
		"an exclusion goes before that": {filter: model.KindFilter{Restricted: true, Include: []model.KindRule{all}, Exclude: []model.KindRule{{Kind: "Pod"}}}, id: pod, want: true},
	} {
		if got := Excluded(&c.filter, c.id); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
