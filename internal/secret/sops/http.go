package sops

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// longestAnswer bounds what a key service may answer.
const longestAnswer = 1 << 20

// clientOf returns a client that never follows redirects: what is sent holds
// credentials.
func clientOf(given *http.Client) *http.Client {
	client := http.Client{Transport: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}}
	if given != nil {
		client = *given
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// post sends JSON and reads the JSON of the answer. Errors tell the host and
// the status code only: a server may answer with what it was sent.
func (k *keys) post(ctx context.Context, to *url.URL, header http.Header, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return refusal("the question cannot be written")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(text))
	if err != nil {
		return refusal("its address cannot be used")
	}
	request.Header = header
	request.Header.Set("Content-Type", "application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return unreachable("no answer from " + printable(to.Host))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return statusError(to.Host, response.StatusCode, "")
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, longestAnswer)).Decode(answer); err != nil {
		return unreachable(printable(to.Host) + " gave an answer that cannot be read")
	}
	return nil
}

// statusError is about an answer that is no success. code is the service's own
// word for it; it may be empty.
func statusError(host string, status int, code string) error {
	what := fmt.Sprintf("%s answered %d", printable(host), status)
	if code = word(code); code != "" {
		what += " " + code
	}
	if status == http.StatusTooManyRequests || status >= http.StatusInternalServerError {
		return unreachable(what)
	}
	return refusal(what)
}

// word keeps the code of a service's error if it is one.
func word(code string) string {
	const most = 60
	ok := len(code) <= most && strings.IndexFunc(code, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
	if !ok {
		return ""
	}
	return code
}
