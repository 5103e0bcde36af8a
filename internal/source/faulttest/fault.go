// Package faulttest checks what the clients of sources tell when something goes
// wrong.
package faulttest

import (
	"errors"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// Canary begins every secret in a test: no fault may hold it.
const Canary = "the-secret"

// Expect wants a fault of a reason whose text holds all parts and no secret.
func Expect(t testing.TB, err error, reason string, parts ...string) {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("want a fault, got %v", err)
	}
	text := fault.Error()
	if fault.Reason != reason {
		t.Errorf("want reason %s, got %s: %s", reason, fault.Reason, text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("want %q in %q", part, text)
		}
	}
	if strings.Contains(text, Canary) {
		t.Errorf("a secret is told: %s", text)
	}
}
