package api

import (
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestSyncWindowsSayWhetherSyncsMayBegin(t *testing.T) {
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	if got := windowsOf(nil, noon); got != nil {
		t.Fatalf("without windows there is %v", got)
	}
	got := windowsOf([]model.Window{{Deny: true, Schedule: "0 11 * * *", Duration: 90 * time.Minute, Manual: true, Description: "lunch"}}, noon)
	if got.GetAutomatic() || !got.GetManual() || got.GetWhy() == "" {
		t.Errorf("at noon it is %v", got)
	}
	if next := got.GetNext().AsTime(); !next.Equal(noon.Add(30 * time.Minute)) {
		t.Errorf("it changes at %s", next)
	}
	if w := got.GetWindows()[0]; !w.GetDeny() || w.GetDuration() != "1h30m0s" || w.GetDescription() != "lunch" {
		t.Errorf("the window is told as %v", w)
	}
	if evening := windowsOf([]model.Window{{Schedule: "0 11 * * *", Duration: time.Hour}}, noon.Add(6*time.Hour)); evening.GetAutomatic() || evening.GetManual() {
		t.Errorf("outside of the one allow window it is %v", evening)
	}
}

func TestASyncThatAWindowBlocksSaysSoBeforehand(t *testing.T) {
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	lunch := model.Window{Deny: true, Schedule: "0 11 * * *", Duration: 90 * time.Minute}
	if got := blockedNow([]model.Window{lunch}, noon); !strings.Contains(got, "0 11 * * *") {
		t.Errorf("at noon it is %q", got)
	}
	lunch.Manual = true
	for name, windows := range map[string][]model.Window{"nothing": nil, "a window that lets people sync": {lunch}} {
		if got := blockedNow(windows, noon); got != "" {
			t.Errorf("%s blocks: %q", name, got)
		}
	}
}

func TestOrphansAreToldByTheirNames(t *testing.T) {
	if got := orphansOf(nil); got != nil {
		t.Errorf("before a run there are %v", got)
	}
	report := &model.Report{Orphans: []object.ID{{Kind: "ConfigMap", Namespace: "shop", Name: "left"}}}
	got := orphansOf(report)
	if len(got) != 1 || strings.Join([]string{got[0].GetKind(), got[0].GetNamespace(), got[0].GetName()}, "/") != "ConfigMap/shop/left" {
		t.Errorf("told %v", got)
	}
}
