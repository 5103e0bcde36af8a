package stage

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A Request is one line of the API server's audit log.
type Request struct {
	Verb        string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
	Agent       string // user agent up to its first "/"
	User        string // whom it was made as
	DryRun      bool
}

// plumbAgent is the user agent of the controller's requests.
const plumbAgent = "plumb"

// ByPlumb reports whether the controller made the request.
func (r Request) ByPlumb() bool { return r.Agent == plumbAgent }

// Write reports whether the request could change something.
func (r Request) Write() bool {
	switch r.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return !r.DryRun
	}
	return false
}

// String is the verb and what it was used on.
func (r Request) String() string {
	what := r.Resource
	if r.Subresource != "" {
		what += "/" + r.Subresource
	}
	return fmt.Sprintf("%s %s %s/%s", r.Verb, what, r.Namespace, r.Name)
}

// AuditEnd is where the next request will be written.
func AuditEnd(file string) (int64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadAudit reads the requests that were answered since an AuditEnd. A watch
// counts when it begins.
func ReadAudit(file string, since int64) ([]Request, error) {
	log, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if _, err := log.Seek(since, io.SeekStart); err != nil {
		return nil, err
	}
	var requests []Request
	lines := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // a line without an end is still being written
			return requests, nil
		}
		if err != nil {
			return nil, err
		}
		request, ok, err := parseAudit(line)
		if err != nil {
			return nil, err
		}
		if ok {
			requests = append(requests, request)
		}
	}
}

func parseAudit(line []byte) (Request, bool, error) {
	var event struct {
		Stage     string `json:"stage"`
		Verb      string `json:"verb"`
		UserAgent string `json:"userAgent"`
		URI       string `json:"requestURI"`
		User      struct {
			Username string `json:"username"`
		} `json:"user"`
		ImpersonatedUser *struct {
			Username string `json:"username"`
		} `json:"impersonatedUser"`
		ObjectRef struct {
			Resource    string `json:"resource"`
			Subresource string `json:"subresource"`
			Namespace   string `json:"namespace"`
			Name        string `json:"name"`
		} `json:"objectRef"`
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return Request{}, false, fmt.Errorf("audit log: %w", err)
	}
	if event.Stage == "RequestReceived" || event.Stage == "ResponseComplete" && event.Verb == "watch" {
		return Request{}, false, nil
	}
	user := event.User.Username
	if event.ImpersonatedUser != nil {
		user = event.ImpersonatedUser.Username
	}
	agent, _, _ := strings.Cut(event.UserAgent, "/")
	return Request{
		Verb: event.Verb, Resource: event.ObjectRef.Resource, Subresource: event.ObjectRef.Subresource,
		Namespace: event.ObjectRef.Namespace, Name: event.ObjectRef.Name,
		Agent: agent, User: user, DryRun: strings.Contains(event.URI, "dryRun="),
	}, true, nil
}
