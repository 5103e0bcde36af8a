package api

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/signin"
)

// TestStreamsOfAllProtocolsCountTogether: whoever has as many streams of one
// protocol as they may has none of another.
func TestStreamsOfAllProtocolsCountTogether(t *testing.T) {
	s := &Server{streams: newGoing(maxStreams, callerStreams)}
	ann := signin.Principal{Kind: signin.KindAccount, Issuer: signin.Issuer, Subject: "ann"}
	for range callerStreams {
		if _, ok := s.streams.begin(streamer(ann), 1); !ok {
			t.Fatal("too few streams")
		}
	}
	if _, ok := s.Begin(ann); ok {
		t.Error("one more has begun")
	}
	if end, ok := s.Begin(signin.Principal{Kind: signin.KindAccount, Issuer: signin.Issuer, Subject: "bob"}); !ok {
		t.Error("somebody else is kept out")
	} else {
		end()
	}
}

// TestShown: only what has something to hide is copied.
func TestShown(t *testing.T) {
	s := &Server{}
	read := func(text string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		return o
	}
	plain := read("{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: a}, spec: {source: {path: x}}, status: {resources: [{kind: Secret}]}}")
	if shown, sealed := s.Shown(plain); shown != plain || sealed {
		t.Errorf("got %v, sealed %v", shown, sealed)
	}
	telling := read("{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: a}, status: {history: [{source: {helm: {parameters: [{name: adminPassword, value: canary}]}}}]}}")
	shown, _ := s.Shown(telling)
	text, err := yaml.Marshal(shown.Object)
	if err != nil || strings.Contains(string(text), "canary") || shown == telling {
		t.Errorf("got %s (%v)", text, err)
	}
}
