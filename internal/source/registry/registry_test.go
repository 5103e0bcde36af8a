package registry

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/faulttest"
)

func TestResolveReferences(t *testing.T) {
	w := newWorld(t)
	digests := map[string]v1.Hash{}
	for _, tag := range []string{"latest", "1.0.0", "1.2.0", "1.10.0", "1.11.0-rc.1", "v2.0.0", "staging-1.3.0", "3.0", "1.5.0_build1"} {
		digests[tag] = w.push("app:"+tag, simple(t, tag))
	}
	for name, one := range map[string]struct {
		ref      model.OCIRef
		revision string
		layer    *model.OCILayer
		want     string // tag, or "@" for the digest alone
	}{
		"nothing is latest":        {want: "latest"},
		"tag":                      {ref: model.OCIRef{Tag: "1.2.0"}, want: "1.2.0"},
		"range":                    {ref: model.OCIRef{SemVer: "1.x"}, want: "1.10.0"},
		"range over tag":           {ref: model.OCIRef{SemVer: "<1.10", Tag: "latest"}, want: "1.2.0"},
		"range with prereleases":   {ref: model.OCIRef{SemVer: ">=1.0.0-0 <2"}, want: "1.11.0-rc.1"},
		"filter":                   {ref: model.OCIRef{SemVer: "*", SemVerFilter: `^1\.[0-9]\.`}, want: "1.2.0"},
		"v and three numbers":      {ref: model.OCIRef{SemVer: "*"}, want: "v2.0.0"},
		"_ is + in tags of charts": {ref: model.OCIRef{SemVer: "1.5.x"}, layer: &model.OCILayer{MediaType: chartLayer}, want: "1.5.0_build1"},
		"digest over all":          {ref: model.OCIRef{Digest: digests["1.0.0"].String(), SemVer: "*", Tag: "latest"}, want: "@1.0.0"},
		"revision: tag":            {revision: "staging-1.3.0", want: "staging-1.3.0"},
		"revision: version":        {revision: "1.2.0", want: "1.2.0"},
		"revision: + is _":         {revision: "1.5.0+build1", want: "1.5.0_build1"},
		"revision: range":          {revision: "^1.2", want: "1.10.0"},
		"revision: two numbers":    {revision: ">=2", want: "3.0"},
		"revision: digest":         {revision: digests["1.2.0"].String(), want: "@1.2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := w.source("app")
			spec.Ref, spec.Revision, spec.Layer = one.ref, one.revision, one.layer
			if one.layer != nil {
				for tag := range digests {
					w.push("app:"+tag, artifact(t, nil, chartConfig, layer(tag, chartLayer)))
				}
				defer func() {
					for tag := range digests {
						w.push("app:"+tag, simple(t, tag))
					}
				}()
			}
			got := resolve(t, quick(t, Limits{}), spec)
			tag, pinned := strings.CutPrefix(one.want, "@")
			if pinned {
				if want := digests[tag].String(); got.Revision != want || got.Digest != want || got.Tag != "" {
					t.Errorf("got %+v, want %s", got, want)
				}
				return
			}
			if got.Tag != tag || got.Revision != tag+"@"+got.Digest || one.layer == nil && got.Digest != digests[tag].String() {
				t.Errorf("got %+v, want %s@%s", got, tag, digests[tag])
			}
		})
	}
}

func TestReferencesThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.push("app:1.0.0", simple(t, "x"))
	for name, one := range map[string]struct {
		spec         model.OCISource
		reason, want string
	}{
		"no such tag":        {model.OCISource{Ref: model.OCIRef{Tag: "2"}}, reasonPull, "MANIFEST_UNKNOWN"},
		"no such digest":     {model.OCISource{Ref: model.OCIRef{Digest: "sha256:" + strings.Repeat("0", 64)}}, reasonPull, "failed to pull artifact from 'oci://"},
		"no digest":          {model.OCISource{Ref: model.OCIRef{Digest: "sha256:12"}}, reasonPull, "'sha256:12' is no digest"},
		"no match":           {model.OCISource{Ref: model.OCIRef{SemVer: ">=2"}}, reasonRead, "no match found for semver: >=2"},
		"no range":           {model.OCISource{Ref: model.OCIRef{SemVer: "about 2"}}, reasonRead, "semver 'about 2' parse error"},
		"no expression":      {model.OCISource{Ref: model.OCIRef{SemVer: "*", SemVerFilter: "("}}, reasonRead, "semverFilter '('"},
		"tag in the address": {model.OCISource{URL: "example.com/app:1"}, reasonURLInvalid, "must not contain a tag"},
		"no address":         {model.OCISource{URL: "example.com/App"}, reasonURLInvalid, "URL validation failed"},
		"path for a tag":     {model.OCISource{Ref: model.OCIRef{Tag: "../../x"}}, reasonPull, "'../../x' is no tag"},
		"revision: no match": {model.OCISource{Revision: ">=2"}, reasonRead, "version matching constraint not found in 1 tags"},
		"revision: no tag":   {model.OCISource{Revision: "main"}, reasonPull, "MANIFEST_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			if one.spec.URL == "" {
				one.spec.URL = w.host + "/app"
			}
			_, err := quick(t, Limits{}).Resolve(t.Context(), &one.spec)
			faulttest.Expect(t, err, one.reason, one.want)
		})
	}
}

func TestPickLayer(t *testing.T) {
	const other = "application/x-other"
	for name, one := range map[string]struct {
		image    v1.Image
		layer    *model.OCILayer
		revision string
		want     string // content, or a part of the fault
		fails    bool
	}{
		"the first":            {image: artifact(t, nil, "c", layer("a", other), layer("b", fluxLayer)), want: "a"},
		"by media type":        {image: artifact(t, nil, "c", layer("a", other), layer("b", fluxLayer)), layer: &model.OCILayer{MediaType: fluxLayer}, want: "b"},
		"copied":               {image: artifact(t, nil, "c", layer("a", other)), layer: &model.OCILayer{Copy: true}, want: "a"},
		"none":                 {image: artifact(t, nil, "c"), want: "no layers found in artifact", fails: true},
		"no such type":         {image: artifact(t, nil, "c", layer("a", other)), layer: &model.OCILayer{MediaType: fluxLayer}, want: "failed to find layer with media type", fails: true},
		"Argo CD: the archive": {image: artifact(t, nil, "c", layer("a", other), layer("b", fluxLayer)), revision: "1", want: "b"},
		"Argo CD: two":         {image: artifact(t, nil, "c", layer("a", fluxLayer), layer("b", fluxLayer)), revision: "1", want: "got 2", fails: true},
		"Argo CD: none":        {image: artifact(t, nil, "c", layer("a", other)), revision: "1", want: "got 0", fails: true},
		"Argo CD: chart":       {image: chartImage(t, "c"), revision: "1", want: "c"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.push("app:1", one.image)
			spec := w.source("app")
			spec.Ref.Tag, spec.Layer, spec.Revision = "1", one.layer, one.revision
			c := quick(t, Limits{})
			got, err := c.Resolve(t.Context(), spec)
			if one.fails {
				faulttest.Expect(t, err, reasonLayer, one.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if content, err := pull(t.Context(), c, spec, got); err != nil || content != one.want {
				t.Errorf("got %q, %v, want %q", content, err, one.want)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	want := map[string]string{
		"org.opencontainers.image.created": "2026-01-02T03:04:05Z", "org.opencontainers.image.revision": "main@sha1:abc",
		"org.opencontainers.image.source": "https://example.com/repo.git", "my": "own",
	}
	w.push("app:latest", artifact(t, want, "c", layer("content", fluxLayer)))
	got := resolve(t, quick(t, Limits{}), w.source("app"))
	if fmt.Sprint(got.Metadata) != fmt.Sprint(want) || got.LayerMediaType != fluxLayer || got.LayerSize != int64(len("content")) {
		t.Errorf("got %+v", got)
	}
}

func TestIndexStandsForLinux(t *testing.T) {
	w := newWorld(t)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: simple(t, "arm"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: simple(t, "amd"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	if err := remote.WriteIndex(w.reference("app:latest"), index, w.behind()); err != nil {
		t.Fatal(err)
	}
	c, spec := quick(t, Limits{}), w.source("app")
	got := resolve(t, c, spec)
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if content, err := pull(t.Context(), c, spec, got); err != nil || content != "amd" || got.Digest != digest.String() {
		t.Errorf("got %q of %s, %v", content, got.Digest, err)
	}
}

func TestCharts(t *testing.T) {
	w := newWorld(t)
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0-beta.1", "2.0.0_k8s.1", "notaversion"} {
		w.push("charts/podinfo:"+version, chartImage(t, "chart "+version))
	}
	for wanted, want := range map[string]string{
		"": "2.0.0+k8s.1", "*": "2.0.0+k8s.1", "1.x": "1.1.0", ">=1.0.0-0 <2": "1.2.0-beta.1", "1.0.0": "1.0.0", "2.0.0+k8s.1": "2.0.0+k8s.1",
	} {
		t.Run(wanted, func(t *testing.T) {
			c, spec := quick(t, Limits{}), &model.ChartSource{Repository: w.host + "/charts", OCI: true, Name: "podinfo", Version: wanted}
			lists := w.count(http.MethodGet, "/tags/list")
			got, err := c.ResolveChart(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			tag := strings.ReplaceAll(want, "+", "_")
			if got.Name != "podinfo" || got.Version != want || got.Address != w.host+"/charts/podinfo:"+tag || got.Created.Year() != 2026 {
				t.Errorf("got %+v", got)
			}
			content, err := c.PullChart(t.Context(), spec, got)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = content.Close() }()
			if read, err := io.ReadAll(content); err != nil || string(read) != "chart "+tag {
				t.Errorf("read %q, %v", read, err)
			}
			if wanted == want && w.count(http.MethodGet, "/tags/list") != lists {
				t.Error("the tags were listed for an exact version")
			}
		})
	}
}

func TestChartsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.push("charts/podinfo:1.0.0", chartImage(t, "chart"))
	w.push("charts/image:1.0.0", simple(t, "no chart"))
	for name, one := range map[string]struct{ name, version, reason, want string }{
		"no such version": {"podinfo", "3.0.0", reasonChartReference, "invalid chart reference: failed to get 'oci://"},
		"no match":        {"podinfo", ">=3", reasonChartReference, "could not locate a version matching provided version string >=3"},
		"no range":        {"podinfo", "newest", reasonChartReference, "neither a version nor a range"},
		"no such chart":   {"nothing", "*", reasonChartReference, "NAME_UNKNOWN"},
		"no chart":        {"image", "1.0.0", reasonChartPull, "is no Helm chart"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := quick(t, Limits{}).ResolveChart(t.Context(), &model.ChartSource{Repository: "oci://" + w.host + "/charts/", Name: one.name, Version: one.version})
			faulttest.Expect(t, err, one.reason, one.want)
		})
	}
}

func TestLooksAreSharedAndTheRestIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	held, entered := make(chan struct{}), make(chan struct{}, 64)
	w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
			entered <- struct{}{}
			<-held
		}
		next.ServeHTTP(out, r)
	})
	c, spec := quick(t, Limits{}), w.source("app")
	const many = 50
	var ended sync.WaitGroup
	ask := func() {
		got, err := c.Resolve(t.Context(), spec)
		if err != nil {
			t.Error(err)
			return
		}
		if content, err := pull(t.Context(), c, spec, got); err != nil || content != "content" {
			t.Errorf("got %q, %v", content, err)
		}
	}
	ended.Go(ask)
	<-entered // the first look is out: whoever asks now shares the next one
	for range many {
		ended.Go(ask)
	}
	close(held)
	ended.Wait()
	if n := w.count(http.MethodHead, "/manifests/"); n < 1 || n > many/2 {
		t.Errorf("%d looks for %d", n, many)
	}
	if n := w.count(http.MethodGet, "/manifests/"); n != 1 {
		t.Errorf("the manifest was fetched %d times", n)
	}
	if n := w.count(http.MethodGet, "/blobs/"); n != 1 {
		t.Errorf("the layer was fetched %d times", n)
	}
}

func TestAnotherCredentialSharesNothing(t *testing.T) {
	w := newWorld(t)
	w.push("app:latest", simple(t, "content"))
	c, first, second := quick(t, Limits{}), w.source("app"), w.source("app")
	second.Auth = model.HTTPAuth{Username: "other", Password: model.NewSecret([]byte("password"))}
	for _, spec := range []*model.OCISource{first, second} {
		if _, err := pull(t.Context(), c, spec, resolve(t, c, spec)); err != nil {
			t.Fatal(err)
		}
	}
	if manifests, blobs := w.count(http.MethodGet, "/manifests/"), w.count(http.MethodGet, "/blobs/"); manifests != 2 || blobs != 2 {
		t.Errorf("%d manifests and %d layers fetched, want 2 of each", manifests, blobs)
	}
}

func TestALookAnswersOnlyWhoAskedBefore(t *testing.T) {
	w := newWorld(t)
	before := w.push("app:latest", simple(t, "before"))
	held, entered := make(chan struct{}), make(chan struct{}, 8)
	w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(out, r) // what it answers is decided here
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
			entered <- struct{}{}
			<-held
		}
	})
	c, spec := quick(t, Limits{}), w.source("app")
	answers := make(chan string, 2)
	ask := func() {
		got, err := c.Resolve(t.Context(), spec)
		if err != nil {
			t.Error(err)
		}
		answers <- got.Digest
	}
	go ask()
	<-entered
	after := w.push("app:latest", simple(t, "after"))
	go ask()
	// The second asks while the first is out: it must not get its answer.
	c.waitFor(t, "head latest")
	close(held)
	got := map[string]bool{<-answers: true, <-answers: true}
	if !got[before.String()] || !got[after.String()] {
		t.Errorf("got %v, want %s and %s", got, before, after)
	}
}

// waitFor returns when a question waits behind one that is out.
func (c *Client) waitFor(t *testing.T, suffix string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c.looks.mu.Lock()
		for key, one := range c.looks.leaves {
			if one != nil && strings.HasSuffix(key, suffix) {
				c.looks.mu.Unlock()
				return
			}
		}
		c.looks.mu.Unlock()
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("nobody asked")
		}
	}
}

func TestHeadIsNotServed(t *testing.T) {
	w := newWorld(t)
	want := w.push("app:latest", simple(t, "content"))
	w.stand(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodHead {
			out.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(out, r)
	})
	if got := resolve(t, quick(t, Limits{}), w.source("app")); got.Digest != want.String() {
		t.Errorf("got %s, want %s", got.Digest, want)
	}
}
