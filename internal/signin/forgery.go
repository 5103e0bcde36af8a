package signin

import (
	"net/http"
	"net/url"
	"strings"
)

// RequestHeader must be on every changing request of a browser. Its value does
// not matter: a page of another site cannot set it without our consent.
const RequestHeader = "X-Plumb-Request"

// RefuseForgery refuses, with 403, requests that another site may have made a
// browser send: those that change something, come without a token in a header,
// and say that they come from elsewhere; and those that come by the cookie and do
// not carry RequestHeader. A sign-in is among them, so that nobody is signed in
// under the name of another without knowing it. Requests with a token in a header
// pass: no browser adds that by itself.
func (d *Door) RefuseForgery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reason := d.forged(r); reason != "" {
			d.log.Warn("refused a request", "reason", reason, "path", cut(r.URL.Path, 200))
			http.Error(w, "this request may come from another site, and is refused", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// forged returns why the request may be forged, or "".
func (d *Door) forged(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return ""
	}
	token, cookie := credential(r)
	if !token.IsZero() && !cookie {
		return ""
	}
	if reason := d.fromElsewhere(r); reason != "" {
		return reason
	}
	if cookie && r.Header.Get(RequestHeader) == "" {
		return "the header " + RequestHeader + " is missing"
	}
	return ""
}

// fromElsewhere returns what says that another site sent the request, or "".
func (d *Door) fromElsewhere(r *http.Request) string {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return "the browser says that it comes from another site"
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return ""
	}
	setup, err := d.setup(r.Context())
	if err != nil {
		return "the settings cannot be read"
	}
	for _, text := range origins {
		origin, err := url.Parse(text)
		if err != nil || !setup.sameOrigin(origin, r.Host) {
			return "its origin is another site"
		}
	}
	return ""
}

// sameOrigin reports whether a page of origin is one of ours: served by the host
// that was asked, or by one that the settings name.
func (s *setup) sameOrigin(origin *url.URL, host string) bool {
	if origin.Scheme != "http" && origin.Scheme != "https" {
		return false
	}
	if strings.EqualFold(origin.Host, host) {
		return true
	}
	for _, own := range s.urls {
		if origin.Scheme == own.Scheme && strings.EqualFold(origin.Host, own.Host) {
			return true
		}
	}
	return false
}
