package appset

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestParametersAreToldFlatAndBounded(t *testing.T) {
	with := params{
		"name": "prod", "metadata": map[string]any{
			"labels":      map[string]string{"region": "eu"},
			"annotations": map[string]string{lastApplied: `{"stringData":{"config":"hunter2"}}`},
		},
		"replicas": 3, "long": strings.Repeat("x", 5000),
	}
	var got map[string]string
	if err := json.Unmarshal(told(with), &got); err != nil {
		t.Fatal(err)
	}
	if got["name"] != "prod" || got["metadata.labels.region"] != "eu" || got["replicas"] != "3" {
		t.Errorf("told %v", got)
	}
	if len(got["long"]) > maxToldValue {
		t.Errorf("a value of %d bytes is told whole", len(got["long"]))
	}
	if strings.Contains(string(told(with)), "hunter2") || strings.Contains(string(told(params{"metadata.annotations." + lastApplied: "hunter2", "a": "b"})), "hunter2") {
		t.Error("the copy of the cluster's Secret is told")
	}
	if told(params{}) != nil {
		t.Error("nothing is told as something")
	}
	many := params{}
	for i := range 3 * maxTold {
		many[fmt.Sprint(i)] = "x"
	}
	var bounded map[string]string
	if err := json.Unmarshal(told(many), &bounded); err != nil || len(bounded) != maxTold {
		t.Errorf("of %d parameters %d are told: %v", len(many), len(bounded), err)
	}
}
