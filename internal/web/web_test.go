package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestEveryPathIsThePageAndEveryFileItself(t *testing.T) {
	handler := Handler()
	for path, want := range map[string]int{
		"/": http.StatusOK, "/deliveries/kustomization/flux-system/sample": http.StatusOK,
		"/applications/argocd/shop": http.StatusOK, "/settings/clusters/https%3A%2F%2Fexample.org": http.StatusOK, // of Argo CD
		"/assets/missing.js": http.StatusNotFound, "/api/v1/missing": http.StatusNotFound, "/../../etc/passwd": http.StatusOK,
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s answers %d, wanted %d", path, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("POST answers %d", w.Code)
	}
}
