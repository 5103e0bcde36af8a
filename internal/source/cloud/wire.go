package cloud

import (
	"io"
	"net/http"

	"plumb.dev/plumb/internal/source/dial"
)

// maxAnswer bounds the answer of an exchange, in bytes.
const maxAnswer = 1 << 20

// bounded keeps answers within maxAnswer, which the SDKs do not.
type bounded struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = shortBody{Reader: dial.Bounded(response.Body, maxAnswer), Closer: response.Body}
	return response, nil
}

type shortBody struct {
	io.Reader
	io.Closer
}
