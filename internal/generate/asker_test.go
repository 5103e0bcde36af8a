package generate

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

func github1(address string, token string) model.Question {
	return model.Question{PullRequests: &model.PullRequestsQuestion{
		Forge:      model.Forge{Kind: "github", API: address, Owner: worldOwner, Credential: model.Credential{Token: secret(token)}},
		Repository: "shop",
	}}
}

func pull(number int) fields {
	return fields{"number": number, "title": "t", "head": fields{"ref": "b"}, "base": fields{"ref": "main"}}
}

// A server that supports conditional requests is asked for changes only, and
// the paths of a commit are looked up once.
func TestWhatIsRemembered(t *testing.T) {
	d := dialects[0]
	mux := http.NewServeMux()
	d.routes(newWorld(), mux)
	var whole, unchanged int
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, r)
		sum := digest(recorder.Body.Bytes())
		tag := fmt.Sprintf(`W/"%x"`, sum[:6])
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			unchanged++
			w.WriteHeader(http.StatusNotModified)
			return
		}
		whole++
		w.WriteHeader(recorder.Code)
		_, _ = w.Write(recorder.Body.Bytes())
	})
	q := d.repositories(s.URL)
	q.AllBranches = true
	q.Filters = []model.RepositoryFilter{{PathsExist: []string{"deploy"}}}
	a := New(Options{Limits: Limits{Parallel: 1}})
	first := ask(t, a, model.Question{Repositories: q})
	freshWhole, freshUnchanged := whole, unchanged // the second reading of a list is its own
	whole, unchanged = 0, 0
	s.forget()
	again := ask(t, a, model.Question{Repositories: q})
	if !reflect.DeepEqual(first, again) || len(again.Repositories) == 0 {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
	if whole != 0 || unchanged == 0 {
		t.Errorf("%d whole answers and %d unchanged ones", whole, unchanged)
	}
	for _, r := range s.requests() {
		if strings.Contains(r, "/contents/") {
			t.Errorf("asked again: %s", r)
		}
	}
	// Another credential gets nothing of it.
	q.Forge.Credential = model.Credential{Token: secret("other")}
	whole, unchanged = 0, 0
	ask(t, a, model.Question{Repositories: q})
	if whole != freshWhole || unchanged != freshUnchanged {
		t.Errorf("another credential: %d whole answers and %d unchanged ones", whole, unchanged)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(10_000)
	for i := range 100 {
		m.keep(&memo{key: digest([]byte{byte(i)}), body: make([]byte, 500)})
		m.recall(digest([]byte{0})) // in use
	}
	if m.used > 10_000 || len(m.byKey) != m.recent.Len() || m.recent.Len() < 5 {
		t.Errorf("%d bytes, %d entries", m.used, m.recent.Len())
	}
	if m.recall(digest([]byte{0})) == nil || m.recall(digest([]byte{1})) != nil {
		t.Error("what is in use went, or what is not stayed")
	}
	m.keep(&memo{key: digest([]byte{0}), body: make([]byte, 9_000)})
	if m.recall(digest([]byte{0})) != nil {
		t.Error("an old answer outlived a newer one that is not kept")
	}
}

// The same question at the same time is asked once, and goes on as long as
// somebody waits.
func TestSameQuestionsTravelTogether(t *testing.T) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
			reply(w, []fields{pull(1)})
		case <-r.Context().Done():
		}
	})
	a := New(Options{})
	first, giveUp := context.WithCancel(t.Context())
	gone := make(chan model.Answer, 1)
	go func() { gone <- a.Ask(first, github1(s.URL, "t")) }()
	<-arrived
	var others sync.WaitGroup
	answers := make([]model.Answer, 3)
	for i := range answers {
		others.Go(func() { answers[i] = a.Ask(t.Context(), github1(s.URL, "t")) })
	}
	for a.flights.waiting() < 4 {
		runtime.Gosched()
	}
	giveUp()
	if fault := isFault(t, <-gone); !fault.Retry || !errors.Is(fault, context.Canceled) {
		t.Errorf("fault: %+v", fault)
	}
	close(release)
	others.Wait()
	for _, answer := range answers {
		if answer.Fault != nil || len(answer.PullRequests) != 1 {
			t.Errorf("answer: %+v", answer)
		}
	}
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func (f *flights) waiting() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.going {
		n += one.waiting
	}
	return n
}

func TestNobodyWaits(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	})
	ctx, giveUp := context.WithCancel(t.Context())
	a := New(Options{})
	go func() { <-arrived; giveUp() }()
	mustFail(t, a.Ask(ctx, github1(s.URL, "t")))
	<-left // the request is given up
	if a.flights.waiting() != 0 {
		t.Error("somebody still waits")
	}
}

// Every field of a question, and the credential, makes it another one.
func TestWhatMakesAQuestionAnother(t *testing.T) {
	forge := model.Forge{Kind: "gitlab", API: "https://a.example", Owner: "o"}
	a := New(Options{})
	key := func(q model.Question) [32]byte {
		e, err := a.errand(q)
		if err != nil {
			t.Fatal(err)
		}
		return e.key
	}
	wrap := map[reflect.Type]func(any) model.Question{
		reflect.TypeFor[model.RepositoriesQuestion](): func(q any) model.Question {
			r := q.(model.RepositoriesQuestion)
			return model.Question{Repositories: &r}
		},
		reflect.TypeFor[model.PullRequestsQuestion](): func(q any) model.Question {
			p := q.(model.PullRequestsQuestion)
			return model.Question{PullRequests: &p}
		},
		reflect.TypeFor[model.PluginQuestion](): func(q any) model.Question {
			p := q.(model.PluginQuestion)
			return model.Question{Plugin: &p}
		},
	}
	for _, base := range []any{
		model.RepositoriesQuestion{Forge: forge},
		model.PullRequestsQuestion{Forge: forge, Repository: "r"},
		model.PluginQuestion{BaseURL: "https://p.example"},
	} {
		kind := reflect.TypeOf(base)
		plain := key(wrap[kind](base))
		if plain != key(wrap[kind](base)) {
			t.Fatalf("%s: the same question has two keys", kind)
		}
		changed := reflect.New(kind).Elem()
		vary := func(path string, field reflect.Value) {
			old := reflect.ValueOf(field.Interface())
			switch value := field.Addr().Interface().(type) {
			case *string:
				*value = map[string]string{"CloneProtocol": "https", "API": "https://b.example", "BaseURL": "https://b.example", "Kind": "github"}[path]
				if *value == "" {
					*value = "other"
				}
			case *bool:
				*value = true
			case **bool:
				no := false
				*value = &no
			case *[]string:
				*value = []string{"x"}
			case *time.Duration:
				*value = time.Second
			case *model.Secret:
				*value = secret("x")
			case *map[string]any:
				*value = map[string]any{"a": 1}
			case *[]model.RepositoryFilter:
				*value = []model.RepositoryFilter{{BranchMatch: "x"}}
			case *[]model.PullRequestFilter:
				*value = []model.PullRequestFilter{{TitleMatch: "x"}}
			case **model.CodeCommitQuestion:
				*value = &model.CodeCommitQuestion{Region: "x"}
			case *[]byte:
				*value = testAuthority(t)
			case **model.GitHubApp:
				*value = &model.GitHubApp{AppID: "1"}
			default:
				t.Fatalf("%s has the new field %s: say how to vary it", kind, path)
			}
			if key(wrap[kind](changed.Interface())) == plain {
				t.Errorf("%s: %s makes no difference", kind, path)
			}
			field.Set(old)
		}
		changed.Set(reflect.ValueOf(base))
		walk(changed, vary)
	}
}

// walk visits the fields of a struct, and those of the structs Forge and Credential.
func walk(v reflect.Value, visit func(string, reflect.Value)) {
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Forge" || name == "Credential" {
			walk(v.Field(i), visit)
			continue
		}
		visit(name, v.Field(i))
	}
}

func testAuthority(t *testing.T) []byte {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// While a forge wants to be left alone it is, but only by that credential.
func TestRateLimits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	in := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	for name, c := range map[string]struct {
		status int
		header http.Header
		said   string
		wait   time.Duration // 0: none
	}{
		"seconds":              {429, header("Retry-After", "120"), "", 2 * time.Minute},
		"a date":               {429, header("Retry-After", now.Add(90*time.Second).Format(http.TimeFormat)), "", 90 * time.Second},
		"unsaid":               {429, nil, "", time.Minute},
		"github, first limit":  {403, header("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", in(10*time.Minute)), "API rate limit exceeded for user ID 1. Include the request ID 1234", 10 * time.Minute},
		"github, second limit": {403, nil, "You have exceeded a secondary rate limit", time.Minute},
		"gitlab":               {429, header("RateLimit-Remaining", "0", "RateLimit-Reset", in(30*time.Second)), "", 30 * time.Second},
		"too long":             {429, header("Retry-After", "86400"), "", time.Hour},
		"too short":            {429, header("Retry-After", "-5"), "", time.Second},
		"maintenance":          {503, header("Retry-After", "300"), "", 5 * time.Minute},
		"outage":               {503, nil, "", 0},
		"forbidden":            {403, header("X-RateLimit-Remaining", "4999"), "no", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer "+worldToken {
					reply(w, []fields{pull(1)})
					return
				}
				for name, values := range c.header {
					w.Header()[name] = values
				}
				refuse(w, c.status, c.said)
			})
			a := New(Options{})
			at := now
			a.now = func() time.Time { return at }
			fault := isFault(t, a.Ask(t.Context(), github1(s.URL, worldToken)))
			if want := c.wait > 0 || c.status == 503; fault.Retry != want {
				t.Errorf("retry is %v: %s", fault.Retry, fault.Message)
			}
			if strings.Contains(fault.Message, "request ID") {
				t.Errorf("the message differs every time: %s", fault.Message)
			}
			if c.wait > 0 && !strings.Contains(fault.Message, now.Add(c.wait).Format(time.RFC3339)) {
				t.Errorf("the time is missing: %s", fault.Message)
			}
			s.forget()
			again := isFault(t, a.Ask(t.Context(), github1(s.URL, worldToken)))
			if again.Message != fault.Message {
				t.Errorf("first  %s\nagain  %s", fault.Message, again.Message)
			}
			if asked := len(s.requests()); (asked == 0) != (c.wait > 0) {
				t.Errorf("%d requests at once", asked)
			}
			ask(t, a, github1(s.URL, "other"))
			s.forget()
			at = now.Add(c.wait).Add(time.Second)
			mustFail(t, a.Ask(t.Context(), github1(s.URL, worldToken)))
			if len(s.requests()) != 1 {
				t.Error("the forge is not asked after its time")
			}
		})
	}
}

// Credentials do not follow a redirection to another server.
func TestRedirections(t *testing.T) {
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, []fields{pull(66)}) })
	var to string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/renamed") {
			if r.Header.Get("Authorization") != "Bearer "+worldToken {
				t.Error("the credential got lost")
			}
			reply(w, []fields{pull(1)})
			return
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	})
	to = "/repositories/7/renamed"
	if got := numbers(ask(t, New(Options{}), github1(s.URL, worldToken)).PullRequests); !slices.Equal(got, []int{1}) {
		t.Errorf("got %v", got)
	}
	for _, kind := range []string{"github", "gitlab"} {
		to = other.URL + "/steal"
		q := github1(s.URL, worldToken)
		q.PullRequests.Forge.Kind = kind
		fault := isFault(t, New(Options{}).Ask(t.Context(), q))
		if fault.Advice == "" || fault.Retry {
			t.Errorf("fault: %+v", fault)
		}
	}
	to = "/again"
	mustFail(t, New(Options{}).Ask(t.Context(), github1(s.URL, worldToken)))
	to = other.URL + "/steal"
	mustFail(t, New(Options{}).Ask(t.Context(), model.Question{Plugin: &model.PluginQuestion{BaseURL: s.URL, Token: secret(worldToken)}}))
	if asked := other.requests(); len(asked) > 0 {
		t.Errorf("the other server was asked %q", asked)
	}
}

// A list that goes on elsewhere is not followed.
func TestNextPageElsewhere(t *testing.T) {
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, fields{"values": []fields{}}) })
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, fields{"values": []fields{{"id": 1}}, "next": other.URL + "/x"})
	})
	mustFail(t, New(Options{}).Ask(t.Context(), model.Question{PullRequests: &model.PullRequestsQuestion{
		Forge: model.Forge{Kind: "bitbucket-cloud", API: s.URL, Owner: "a"}, Repository: "r",
	}}))
	if len(other.requests()) > 0 {
		t.Error("the other server was asked")
	}
}

// numbered serves pull requests two by page; change is called before each page
// with how many were served.
func numbered(t *testing.T, change func(served int) []int) *server {
	served := 0
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		all := change(served)
		served++
		items, next := pageOf(r, all)
		if next > 0 {
			w.Header().Set("Link", fmt.Sprintf(`<http://x/?page=%d>; rel="next"`, next))
		}
		reply(w, objects(items, pull))
	})
}

// A pull request that is closed while the list is read moves the others up:
// one would be missed, and its Application deleted.
func TestListsThatChange(t *testing.T) {
	s := numbered(t, func(served int) []int {
		if served == 0 {
			return []int{5, 4, 3, 2, 1}
		}
		return []int{4, 3, 2, 1} // 3 is on the first page now, which was read
	})
	got := numbers(ask(t, New(Options{}), github1(s.URL, "t")).PullRequests)
	if want := []int{4, 3, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	vanishing := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "2" {
			refuse(w, http.StatusNotFound, "Not Found")
			return
		}
		w.Header().Set("Link", `<http://x/?page=2>; rel="next"`)
		reply(w, []fields{pull(1)})
	})
	q := github1(vanishing.URL, "t")
	q.PullRequests.MissingIsEmpty = true // it was not missing
	mustFail(t, New(Options{}).Ask(t.Context(), q))
	restless := numbered(t, func(served int) []int { return []int{1, 2, 100 + served} })
	if fault := isFault(t, New(Options{}).Ask(t.Context(), github1(restless.URL, "t"))); !fault.Retry {
		t.Errorf("fault: %+v", fault)
	}
}

func TestLimits(t *testing.T) {
	endless := func(t *testing.T) *server {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			page, _ := strconv.Atoi(r.URL.Query().Get("page"))
			w.Header().Set("Link", fmt.Sprintf(`<http://x/?page=%d>; rel="next"`, page+1))
			reply(w, []fields{pull(page*2 + 1), pull(page*2 + 2)})
		})
	}
	for name, c := range map[string]struct {
		limits Limits
		server func(*testing.T) *server
		retry  bool
	}{
		"pages":    {limits: Limits{Pages: 3}, server: endless},
		"results":  {limits: Limits{Results: 5}, server: endless},
		"requests": {limits: Limits{Requests: 4}, server: endless},
		"bytes": {limits: Limits{ResponseBytes: 1000}, server: func(t *testing.T) *server {
			return serve(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`["` + strings.Repeat("x", 2000) + `"]`))
			})
		}},
		"time of a request": {limits: Limits{Request: 20 * time.Millisecond}, retry: true, server: func(t *testing.T) *server {
			return serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}},
		"time of a question": {limits: Limits{Question: 20 * time.Millisecond}, retry: true, server: func(t *testing.T) *server {
			return serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fault := isFault(t, New(Options{Limits: c.limits}).Ask(t.Context(), github1(c.server(t).URL, "t")))
			if fault.Retry != c.retry {
				t.Errorf("fault: %+v", fault)
			}
		})
	}
	d := dialects[0]
	q := d.repositories(d.serve(t, newWorld()).URL)
	q.AllBranches = true
	mustFail(t, New(Options{Limits: Limits{Results: 4}}).Ask(t.Context(), model.Question{Repositories: q}))
}

// A file may be larger than an answer may be: that it is there is all that counts.
func TestLargeFileExists(t *testing.T) {
	d := dialects[0]
	mux := http.NewServeMux()
	d.routes(newWorld(), mux)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/contents/") {
			_, _ = io.Copy(w, io.LimitReader(zeros{}, 1<<20))
			return
		}
		mux.ServeHTTP(w, r)
	})
	q := d.repositories(s.URL)
	q.Filters = []model.RepositoryFilter{{PathsExist: []string{"big"}}}
	got := ask(t, New(Options{Limits: Limits{ResponseBytes: 100 << 10}}), model.Question{Repositories: q})
	if len(got.Repositories) != 3 {
		t.Errorf("got %+v", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTrust(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reply(w, []fields{pull(1)}) }))
	t.Cleanup(s.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	q := github1(s.URL, "t")
	a := New(Options{})
	if fault := isFault(t, a.Ask(t.Context(), q)); fault.Retry || fault.Advice == "" {
		t.Errorf("fault: %+v", fault)
	}
	q.PullRequests.Forge.Credential.CA = authority
	ask(t, a, q)
	q.PullRequests.Forge.Credential.CA, q.PullRequests.Forge.Credential.Insecure = nil, true
	ask(t, a, q)
	q.PullRequests.Forge.Credential.Insecure = false
	mustFail(t, a.Ask(t.Context(), q)) // the others' trust is not ours
	ask(t, New(Options{CA: authority}), q)
}

func TestLinkLocal(t *testing.T) {
	for _, address := range []string{"http://169.254.169.254", "http://[fe80::1]:80", "http://[::ffff:169.254.169.254]"} {
		fault := isFault(t, New(Options{Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}).Ask(t.Context(), github1(address, "t")))
		if !errors.Is(fault, errLinkLocal) || fault.Retry {
			t.Errorf("%s: %+v", address, fault)
		}
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var connections sync.Map
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections.Store(r.RemoteAddr, true)
		reply(w, []fields{pull(1)})
	}))
	s.Start()
	t.Cleanup(s.Close)
	a := New(Options{})
	for range 5 {
		ask(t, a, github1(s.URL, "t"))
	}
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestPlugin(t *testing.T) {
	const whole = `{"output":{"parameters":[{"key":"a","n":1,"deep":{"x":[true]}},{"key":"b"}]}}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   []map[string]any // nil: a fault
		retry  bool
		say    string
	}{
		"parameters": {200, whole, []map[string]any{
			{"key": "a", "n": 1.0, "deep": map[string]any{"x": []any{true}}}, {"key": "b"},
		}, false, ""},
		"empty":         {200, `{"output":{"parameters":[]}}`, []map[string]any{}, false, ""},
		"nil in Go":     {200, `{"output":{"parameters":null}}`, []map[string]any{}, false, ""},
		"no body":       {200, ``, nil, true, ""},
		"no parameters": {200, `{"output":{}}`, nil, false, "output.parameters"},
		"no object":     {200, `{"output":{"parameters":["a"]}}`, nil, true, ""},
		"cut off":       {200, whole[:30], nil, true, ""},
		"forbidden":     {403, `{"error":"wrong token ` + worldToken + `"}`, nil, false, "wrong token [secret]"},
		"broken":        {500, `<b>trace</b>`, nil, true, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Path != "/base/api/v1/getparams.execute" || r.Header.Get("Authorization") != "Bearer "+worldToken {
					t.Errorf("asked %s %s", r.Method, r.URL)
				}
				var got any
				if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
					t.Error(err)
				}
				want := fields{"applicationSetName": "set", "input": fields{"parameters": fields{"k": "<v>"}}}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("asked with %v", got)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			})
			answer := New(Options{}).Ask(t.Context(), model.Question{Plugin: &model.PluginQuestion{
				BaseURL: s.URL + "/base/", Token: secret(worldToken), ApplicationSet: "set", Parameters: map[string]any{"k": "<v>"},
			}})
			if c.want == nil {
				fault := isFault(t, answer)
				if fault.Retry != c.retry || !strings.Contains(fault.Message, c.say) {
					t.Errorf("fault: %+v", fault)
				}
				return
			}
			if answer.Fault != nil || len(answer.Parameters) != len(c.want) || len(c.want) > 0 && !reflect.DeepEqual(answer.Parameters, c.want) {
				t.Errorf("got %#v, %v", answer.Parameters, answer.Fault)
			}
		})
	}
}

func TestPluginTimeout(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the end of the connection is only seen behind the body
		<-r.Context().Done()
	})
	fault := isFault(t, New(Options{}).Ask(t.Context(), model.Question{Plugin: &model.PluginQuestion{BaseURL: s.URL, Timeout: 20 * time.Millisecond}}))
	if !fault.Retry || !strings.Contains(fault.Message, "20ms") {
		t.Errorf("fault: %+v", fault)
	}
}
