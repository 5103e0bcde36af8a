package scenario

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// search lists the places that show a text, as it is or in base64: what the
// controllers print, keep on disk and serve, and every object of a namespace
// but Secrets, events among them. The mirror of a repository that holds the text
// holds it too, and is left out when inGit is set.
func (th *theatre) search(ctx context.Context, namespace, text string, inGit bool) ([]string, error) {
	var found []string
	spellings := []string{text, base64.StdEncoding.EncodeToString([]byte(text))}
	look := func(place string, content []byte) {
		for _, spelling := range spellings {
			if bytes.Contains(content, []byte(spelling)) {
				found = append(found, place)
				return
			}
		}
	}
	th.mu.Lock()
	defer th.mu.Unlock()
	for name, c := range th.controllers {
		look("log of controller "+name, []byte(c.log.String()))
		if err := searchFiles(c.dir, inGit, look); err != nil {
			return nil, err
		}
		if err := c.searchServed(ctx, look); err != nil {
			return nil, err
		}
	}
	kinds, err := th.kube.Kinds()
	if err != nil {
		return nil, err
	}
	objects, err := th.kube.All(ctx, namespace, kinds)
	if err != nil {
		return nil, err
	}
	events, err := th.kube.List(ctx, "events", namespace)
	if err != nil {
		return nil, err
	}
	for _, o := range append(objects, events...) {
		if o.GetKind() == "Secret" {
			continue
		}
		for _, spelling := range spellings {
			if shows(&o, spelling) {
				found = append(found, fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName()))
			}
		}
	}
	return found, nil
}

func searchFiles(dir string, inGit bool, look func(string, []byte)) error {
	return filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case inGit && at == filepath.Join(dir, "sources"):
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(at)
		if os.IsNotExist(err) { // temporary files come and go
			return nil
		}
		if err != nil {
			return err
		}
		look("file "+strings.TrimPrefix(at, dir), content)
		return nil
	})
}

// searchServed reads what the controller tells anybody who asks.
func (c *controller) searchServed(ctx context.Context, look func(string, []byte)) error {
	for _, url := range []string{"http://" + c.addr + "/readyz", "http://" + c.metrics + "/metrics"} {
		content, err := served(ctx, url)
		if err != nil {
			return err
		}
		look("served at "+url, content)
	}
	return nil
}

func served(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(response.Body)
	return content, errors.Join(err, response.Body.Close())
}

// metricsWord prints what the controllers count about the story's namespace.
func metricsWord(ts *testscript.TestScript, s *story, _ []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, c := range th.controllers {
		content, err := served(ctx, "http://"+c.metrics+"/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, s.known["NS"]) {
				fmt.Fprint(ts.Stdout(), line)
			}
		}
	}
	return nil
}
