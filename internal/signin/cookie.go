package signin

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"plumb.dev/plumb/internal/model"
)

// Names of cookies. The first two are Argo CD's.
const (
	CookieName        = "argocd.token"
	stateCookieName   = "argocd.oauthstate"
	sessionCookieName = "plumb.session"
)

const (
	// maxCookie is the length in bytes that every browser takes of one cookie, name
	// and attributes included.
	maxCookie = 4093
	// maxParts is into how many cookies a value may be cut. (upstream:
	// ARGOCD_MAX_COOKIE_NUMBER)
	maxParts = 20
	// attributeRoom is kept free for the attributes beside the path.
	attributeRoom = 100
)

var errCookie = errors.New("the cookie is cut into parts that do not fit together")

// joinCookie puts a value together that was cut into parts: name is
// "<count>:<first part>" or the whole, name-1 and so on are the rest. An absent
// cookie is "". (upstream: httputil.JoinCookies)
func joinCookie(name string, cookies []*http.Cookie) (string, error) {
	first, ok := cookieValue(name, cookies)
	if !ok {
		return "", nil
	}
	count, rest, cutUp := strings.Cut(first, ":")
	if !cutUp {
		return first, nil
	}
	parts, err := strconv.Atoi(count)
	if err != nil || parts < 1 || parts > maxParts {
		return "", errCookie
	}
	var value strings.Builder
	value.WriteString(rest)
	for i := 1; i < parts; i++ {
		part, ok := cookieValue(name+"-"+strconv.Itoa(i), cookies)
		if !ok || value.Len()+len(part) > 2*maxToken {
			return "", errCookie
		}
		value.WriteString(part)
	}
	return value.String(), nil
}

func cookieValue(name string, cookies []*http.Cookie) (string, bool) {
	for _, cookie := range cookies {
		if cookie.Name == name {
			return cookie.Value, true
		}
	}
	return "", false
}

// splitCookie cuts a value into the cookies that hold it, all like the template.
func splitCookie(template http.Cookie, value string) ([]*http.Cookie, error) {
	room := maxCookie - len(template.Name) - len("-20=20:") - len(template.Path) - attributeRoom
	if room < 100 {
		return nil, errCookie
	}
	parts := (len(value) + room - 1) / room
	if parts > maxParts {
		return nil, errors.New("the session needs " + strconv.Itoa(parts) + " cookies, and browsers take " + strconv.Itoa(maxParts) + ": ask the identity provider for fewer claims")
	}
	cookies := make([]*http.Cookie, 0, parts)
	for i := range parts {
		part := value[i*room : min((i+1)*room, len(value))]
		cookie := template
		cookie.Value = part
		switch {
		case i > 0:
			cookie.Name += "-" + strconv.Itoa(i)
		case parts > 1:
			cookie.Value = strconv.Itoa(parts) + ":" + part
		}
		cookies = append(cookies, &cookie)
	}
	return cookies, nil
}

// template returns what all our cookies have in common for this request.
func (d *Door) template(setup *setup, r *http.Request, name string) http.Cookie {
	path := "/"
	if own := setup.address(r.Host, asked(r)); own != nil && strings.Trim(own.Path, "/") != "" {
		path = strings.TrimSuffix(own.Path, "/")
	}
	return http.Cookie{Name: name, Path: path, Secure: secure(r), HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// secure reports whether a cookie must only travel encrypted: always, but for
// plain HTTP from this very machine to itself.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") || !loopback(r.Host) || !loopback(r.RemoteAddr)
}

func loopback(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

// setCookie hands a value to the browser, in as many cookies as it needs, and
// takes back the parts of a longer one that it held before. "" takes it away.
func (d *Door) setCookie(w http.ResponseWriter, r *http.Request, template http.Cookie, value string) error {
	cookies, err := splitCookie(template, value)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, cookie := range cookies {
		kept[cookie.Name] = true
		http.SetCookie(w, cookie)
	}
	for _, old := range r.Cookies() {
		rest, ours := strings.CutPrefix(old.Name, template.Name)
		if !ours || kept[old.Name] || (rest != "" && !isPart(rest)) {
			continue
		}
		kept[old.Name] = true
		gone := template
		gone.Name, gone.Value, gone.MaxAge, gone.Expires = old.Name, "", -1, time.Unix(1, 0)
		http.SetCookie(w, &gone)
	}
	return nil
}

func isPart(suffix string) bool {
	number, ok := strings.CutPrefix(suffix, "-")
	n, err := strconv.Atoi(number)
	return ok && err == nil && n > 0 && n <= maxParts
}

// SetSession hands a token that Login returned to the browser. Nothing else may
// have been written to w yet.
func (d *Door) SetSession(w http.ResponseWriter, r *http.Request, token model.Secret) error {
	setup, err := d.setup(r.Context())
	if err != nil {
		return err
	}
	if err := d.setCookie(w, r, d.template(setup, r, sessionCookieName), ""); err != nil {
		return err
	}
	return d.setCookie(w, r, d.template(setup, r, CookieName), string(token.Reveal()))
}

// Renew hands the browser what Authenticate has renewed; it does nothing when
// there is nothing to hand over. Identify does it by itself.
func (d *Door) Renew(w http.ResponseWriter, r *http.Request, caller Principal) error {
	if caller.Renewal.IsZero() || !caller.Cookie {
		return nil
	}
	setup, err := d.setup(r.Context())
	if err != nil {
		return err
	}
	if caller.renewed != nil {
		if err := d.storeSession(w, r, setup, caller.renewed); err != nil {
			return err
		}
	}
	return d.setCookie(w, r, d.template(setup, r, CookieName), string(caller.Renewal.Reveal()))
}
