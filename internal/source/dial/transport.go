package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"plumb.dev/plumb/internal/model"
)

// Transport returns a transport with the certificates and the proxy of auth. It
// never unpacks an answer on its own: a package that is a gzip stream must
// arrive as it is. Errors say which entry is wrong, and nothing of its content.
func Transport(auth *model.HTTPAuth) (*http.Transport, error) {
	security, err := TLS(auth)
	if err != nil {
		return nil, err
	}
	way, err := Proxy(auth.Proxy)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  way,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        security,
		TLSHandshakeTimeout:    15 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// TLS applies the authorities and the client certificate of auth. The
// authorities are trusted beside those of the system, as source-controller has
// it (secrets.WithSystemCertPool).
func TLS(auth *model.HTTPAuth) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: auth.Insecure, //nolint:gosec // asked for by the declared object
	}
	if len(auth.CA) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(auth.CA) {
			return nil, errors.New("the certificate authority ('ca.crt') holds no certificate in PEM form")
		}
		config.RootCAs = roots
	}
	if len(auth.ClientCert) == 0 && auth.ClientKey.IsZero() {
		return config, nil
	}
	pair, err := tls.X509KeyPair(auth.ClientCert, auth.ClientKey.Reveal())
	if err != nil {
		return nil, errors.New("the client certificate ('tls.crt') and its key ('tls.key') must both be given, and fit together")
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// Proxy picks the way to a server: the given proxy, or the one that the
// environment names.
func Proxy(proxy *model.Proxy) (func(*http.Request) (*url.URL, error), error) {
	if proxy == nil || proxy.Address == "" {
		return http.ProxyFromEnvironment, nil
	}
	via, err := url.Parse(proxy.Address)
	if err != nil || via.Host == "" {
		return nil, errors.New("the address of the proxy cannot be understood")
	}
	switch via.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fmt.Errorf("proxies of scheme %q are not supported", via.Scheme)
	}
	if proxy.Username != "" {
		via.User = url.UserPassword(proxy.Username, string(proxy.Password.Reveal()))
	}
	return http.ProxyURL(via), nil
}
