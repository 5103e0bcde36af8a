package scenario

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/scenario/stage"
)

// apiPause is how long await-api rests between two looks.
const apiPause = 100 * time.Millisecond

// apiCall reads [as USER] CALL [JSON].
func apiCall(s *story, args []string) (user, call string, body []byte, rest []string, err error) {
	user = "admin"
	if len(args) > 1 && args[0] == "as" {
		user, args = args[1], args[2:]
	}
	if len(args) == 0 {
		return "", "", nil, nil, errUsage
	}
	call, args = args[0], args[1:]
	body = []byte("{}")
	if len(args) > 0 && strings.HasPrefix(args[0], "{") {
		body, args = []byte(s.fill(args[0])), args[1:]
	}
	return user, call, body, args, nil
}

// server is the API as somebody calls it: admin with the first password, a
// service account of the story (serviceaccount/NAME), an account that the word
// account made, a token that was remembered ($NAME), or anonymous.
func (s *story) server(ctx context.Context, user string) (*stage.API, error) {
	th, err := s.stage()
	if err != nil {
		return nil, err
	}
	c := th.controller("main")
	if c == nil {
		return nil, errors.New("no controller runs")
	}
	api := &stage.API{Address: c.api}
	if account, ok := strings.CutPrefix(user, "serviceaccount/"); ok {
		api.Token, err = th.kube.ServiceAccountToken(ctx, s.known["NS"], account)
		return api, err
	}
	switch {
	case user == "anonymous":
		return api, nil
	case strings.HasPrefix(user, "token:"):
		api.Token = strings.TrimPrefix(user, "token:")
		return api, nil
	case user == "admin":
		_, password, err := th.firstPassword(ctx)
		if err != nil {
			return nil, err
		}
		return api, s.signIn(ctx, api, "admin", password)
	}
	return api, s.signIn(ctx, api, user+"-"+s.known["NS"], accountPassword)
}

// signIn gets a token, once; a server that has just been told of an account, or
// has just begun, takes a moment.
func (s *story) signIn(ctx context.Context, api *stage.API, name, password string) error {
	if s.tokens == nil {
		s.tokens = map[string]string{}
	}
	if token := s.tokens[api.Address+name]; token != "" {
		api.Token = token
		return nil
	}
	body, err := json.Marshal(map[string]any{"username": name, "password": password, "token": true})
	if err != nil {
		return err
	}
	// Each try before the server knows the account counts as a wrong password, of
	// which it takes a few.
	answer, err := api.Call(ctx, "SignIn", body)
	for pause := apiPause; err != nil && pause < 4*time.Second; pause *= 4 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		answer, err = api.Call(ctx, "SignIn", body)
	}
	if err != nil {
		return fmt.Errorf("sign in as %s: %w", name, err)
	}
	told := struct{ Token string }{}
	if err := json.Unmarshal(answer, &told); err != nil {
		return err
	}
	api.Token, s.tokens[api.Address+name] = told.Token, told.Token
	return nil
}

// poll repeats until it works or ctx ends.
func poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(apiPause):
		}
	}
}

// firstPassword is admin's, and the namespace of the settings of sign-in.
func (th *theatre) firstPassword(ctx context.Context) (namespace, password string, err error) {
	err = poll(ctx, func() error {
		for _, namespace = range []string{"argocd", "plumb-system"} {
			o, err := th.kube.Get(ctx, stage.Name{Kind: "secret", Namespace: namespace, Name: "argocd-initial-admin-secret"})
			if err != nil {
				return err
			}
			if o == nil {
				continue
			}
			// It is written down before it is in force.
			settings, err := th.kube.Get(ctx, stage.Name{Kind: "secret", Namespace: namespace, Name: "argocd-secret"})
			if err != nil {
				return err
			}
			if settings == nil {
				return errors.New("there are no settings of sign-in yet")
			}
			if hashes, _ := settings.Object["data"].(map[string]any); hashes["admin.password"] == nil {
				return errors.New("admin's first password is not in force yet")
			}
			data, _ := o.Object["data"].(map[string]any)
			text, _ := data["password"].(string)
			plain, err := base64.StdEncoding.DecodeString(text)
			password = string(plain)
			return err
		}
		return errors.New("admin has no first password yet")
	})
	return namespace, password, err
}

// accountPassword is that of every account of a story.
const accountPassword = "a password of a story"

// accountWord makes local accounts. Each is NAME-$NS to the server.
func accountWord(_ *testscript.TestScript, s *story, args []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	home, _, err := th.firstPassword(ctx)
	if err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(accountPassword), bcrypt.MinCost)
	if err != nil {
		return err
	}
	config, secret := map[string]any{}, map[string]any{}
	for _, name := range args {
		config["accounts."+name+"-"+s.known["NS"]] = "login, apiKey"
		secret["accounts."+name+"-"+s.known["NS"]+".password"] = string(hash)
	}
	patch, err := json.Marshal(map[string]any{"stringData": secret})
	if err != nil {
		return err
	}
	// The passwords first: an account without one would be closed by those who try.
	if err := th.kube.Patch(ctx, stage.Name{Kind: "secret", Namespace: home, Name: "argocd-secret"}, patch); err != nil {
		return err
	}
	return th.configure(ctx, home, "argocd-cm", config)
}

// policyWord adds lines to the policy in force.
func policyWord(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	home, _, err := th.firstPassword(ctx)
	if err != nil {
		return err
	}
	return th.configure(ctx, home, "argocd-rbac-cm", map[string]any{"policy." + s.known["NS"] + ".csv": s.fill(ts.ReadFile(args[0]))})
}

// configure puts keys into a ConfigMap of settings, which need not exist.
func (th *theatre) configure(ctx context.Context, namespace, name string, data map[string]any) error {
	at := stage.Name{Kind: "configmap", Namespace: namespace, Name: name}
	o, err := th.kube.Get(ctx, at)
	if err != nil {
		return err
	}
	if o == nil {
		empty, err := stage.Decode([]byte(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s}\n", name, namespace)))
		if err != nil {
			return err
		}
		if err := th.kube.Create(ctx, empty[0]); err != nil && !strings.Contains(err.Error(), "already exists") {
			return err
		}
	}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	return th.kube.Patch(ctx, at, patch)
}

// steady is an answer as a story compares it.
func (s *story) steady(answer []byte) (string, error) {
	return stage.SteadyJSON(answer, map[string]string{s.known["NS"]: "NS", s.known["REPO_URL"]: "REPO_URL"})
}

// apiWord makes a call and prints its answer.
func apiWord(ts *testscript.TestScript, s *story, args []string) error {
	user, call, body, rest, err := apiCall(s, args)
	if err != nil || len(rest) > 0 {
		return errors.Join(errUsage, err)
	}
	ctx, done := limit(awaitLimit)
	defer done()
	api, err := s.server(ctx, user)
	if err != nil {
		return err
	}
	answer, err := api.Call(ctx, call, body)
	if err != nil {
		return err
	}
	text, err := s.steady(answer)
	fmt.Fprintln(ts.Stdout(), text)
	return err
}

// awaitAPI makes a call until everything is in its answer, or in its refusal.
func awaitAPI(ts *testscript.TestScript, s *story, args []string) error {
	user, call, body, wanted, err := apiCall(s, args)
	if err != nil || len(wanted) == 0 {
		return errors.Join(errUsage, err)
	}
	var patterns []*regexp.Regexp
	for _, text := range wanted {
		pattern, err := regexp.Compile(s.fill(text))
		if err != nil {
			return err
		}
		patterns = append(patterns, pattern)
	}
	ctx, done := limit(awaitLimit)
	defer done()
	last := ""
	err = s.watchful(ctx, func(ctx context.Context) error {
		api, err := s.server(ctx, user)
		if err != nil {
			return err
		}
		return poll(ctx, func() error {
			answer, err := api.Call(ctx, call, body)
			if err != nil {
				last = err.Error()
			} else if last, err = s.steady(answer); err != nil {
				return err
			}
			for _, pattern := range patterns {
				if !pattern.MatchString(last) {
					return fmt.Errorf("nothing matches %s", pattern)
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("%w in the last answer:\n%s", err, last)
	}
	fmt.Fprintln(ts.Stdout(), last)
	return nil
}

// rememberAPI keeps a part of an answer.
func rememberAPI(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) < 3 {
		return errUsage
	}
	user, call, body, rest, err := apiCall(s, args[1:])
	if err != nil || len(rest) != 1 {
		return errors.Join(errUsage, err)
	}
	pattern, err := regexp.Compile(rest[0])
	if err != nil || pattern.NumSubexp() != 1 {
		return errors.Join(errUsage, err)
	}
	ctx, done := limit(awaitLimit)
	defer done()
	api, err := s.server(ctx, user)
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		answer, err := api.Call(ctx, call, body)
		if err != nil {
			return err
		}
		found := pattern.FindSubmatch(answer)
		if found == nil {
			return fmt.Errorf("nothing in the answer matches %s", pattern)
		}
		s.learn(ts, args[0], string(found[1]))
		return nil
	})
}

// openStream begins a call that goes on while the story does.
func openStream(_ *testscript.TestScript, s *story, args []string) error {
	user, call, body, rest, err := apiCall(s, args)
	if err != nil || len(rest) > 0 {
		return errors.Join(errUsage, err)
	}
	ctx, done := limit(awaitLimit)
	defer done()
	api, err := s.server(ctx, user)
	if err != nil {
		return err
	}
	if s.stream != nil {
		s.stream.Close()
	}
	s.stream = api.Open(call, body)
	s.cleanups(s.stream.Close)
	return nil
}

// awaitStream waits for a message of the stream, and prints it.
func awaitStream(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 1 || s.stream == nil {
		return errUsage
	}
	pattern, err := regexp.Compile(s.fill(args[0]))
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	message, err := s.stream.Await(ctx, pattern)
	if err != nil {
		return err
	}
	text, err := s.steady(message)
	fmt.Fprintln(ts.Stdout(), text)
	return err
}

// apiEverything makes every call about everything there is, and prints those
// that show one of the texts, as it is or in base64.
func apiEverything(ts *testscript.TestScript, s *story, args []string) error {
	user := "admin"
	if len(args) > 1 && args[0] == "as" {
		user, args = args[1], args[2:]
	}
	ctx, done := limit(2 * awaitLimit)
	defer done()
	api, err := s.server(ctx, user)
	if err != nil {
		return err
	}
	w := &apiWalk{api: api, made: map[string]int{}}
	for _, text := range args {
		w.texts = append(w.texts, text, base64.StdEncoding.EncodeToString([]byte(text)))
	}
	if err := w.walk(ctx); err != nil {
		return err
	}
	for _, m := range stage.Methods() {
		if w.made[m.Name] == 0 {
			return fmt.Errorf("nothing has called %s: teach apiWalk how", m.Name)
		}
	}
	for _, found := range w.found {
		fmt.Fprintln(ts.Stdout(), found)
	}
	fmt.Fprintf(ts.Stderr(), "%d answers, %d refusals\n", w.answers, w.refusals)
	return nil
}

// apiWalk makes calls and looks for texts in what comes back, errors too.
type apiWalk struct {
	api               *stage.API
	texts             []string
	made              map[string]int
	found             []string
	answers, refusals int
}

// call makes one, and returns its answer; nil where it was refused.
func (w *apiWalk) call(ctx context.Context, name string, request map[string]any) (map[string]any, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var answer []byte
	err = poll(ctx, func() error {
		if answer, err = w.api.Call(ctx, name, body); err != nil {
			answer = []byte(err.Error())
		}
		if told := (*stage.APIError)(nil); errors.As(err, &told) && strings.HasPrefix(told.Code, "429") {
			return err
		}
		return nil
	})
	w.made[name]++
	for _, text := range w.texts {
		if strings.Contains(string(answer), text) {
			w.found = append(w.found, fmt.Sprintf("%s %s shows %s", name, body, text))
		}
	}
	out := map[string]any{}
	if json.Unmarshal(answer, &out) != nil {
		w.refusals++
		return nil, ctx.Err()
	}
	w.answers++
	return out, nil
}

// each makes several calls of which only the texts matter.
func (w *apiWalk) each(ctx context.Context, calls map[string][]map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		for _, request := range calls[name] {
			if _, err := w.call(ctx, name, request); err != nil {
				return err
			}
		}
	}
	return nil
}

func list(from map[string]any, field string) []map[string]any {
	items, _ := from[field].([]any)
	var out []map[string]any
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (w *apiWalk) walk(ctx context.Context) error {
	nothing := []map[string]any{{}}
	err := w.each(ctx, map[string][]map[string]any{
		"GetSignIn": nothing, "GetMe": nothing, "SignIn": {{"username": "admin", "password": "wrong"}, {"username": "nobody"}},
		"GetOverview": nothing, "ListClusters": nothing, "ListProjects": nothing, "GetSettings": nothing,
		"ListActivity": {{"query": map[string]any{"pageSize": 1000}}}, "Search": {{"text": "secret"}, {"text": "a", "limit": 1000}, {"text": "e", "limit": 1000}},
		"WatchDeliveries": {{"facets": true}}, "ListDeclarations": declaredKinds(), "WatchDeclarations": declaredKinds(),
		"WatchSources": {{"facets": true}}, "WatchClusters": nothing, "WatchProjects": nothing, "WatchActivity": nothing, "GetCluster": {{"name": "in-cluster"}},
	})
	if err != nil {
		return err
	}
	deliveries, err := w.call(ctx, "ListDeliveries", map[string]any{"facets": true, "query": map[string]any{"pageSize": 1000}})
	if err != nil {
		return err
	}
	for _, d := range list(deliveries, "deliveries") {
		if err := w.delivery(ctx, d["ref"]); err != nil {
			return err
		}
	}
	sources, err := w.call(ctx, "ListSources", map[string]any{"facets": true})
	if err != nil {
		return err
	}
	for _, source := range list(sources, "sources") {
		ref := source["ref"]
		if err := w.each(ctx, map[string][]map[string]any{"GetSource": {{"ref": ref}}, "WatchSource": {{"ref": ref}}, "ActOnSource": {{"ref": ref, "action": "refresh"}}}); err != nil {
			return err
		}
	}
	anonymous := &apiWalk{api: &stage.API{Address: w.api.Address}, made: w.made, texts: w.texts} // which does not end our session
	_, err = anonymous.call(ctx, "SignOut", map[string]any{})
	w.found = append(w.found, anonymous.found...)
	return err
}

// declaredKinds asks for all objects of every kind that holds something.
func declaredKinds() []map[string]any {
	var requests []map[string]any
	for group, kinds := range map[string][]string{
		"argoproj.io":                 {"Application", "ApplicationSet", "AppProject"},
		"kustomize.toolkit.fluxcd.io": {"Kustomization"},
		"helm.toolkit.fluxcd.io":      {"HelmRelease"},
		"source.toolkit.fluxcd.io":    {"GitRepository", "OCIRepository", "HelmRepository", "HelmChart", "Bucket", "ExternalArtifact"},
	} {
		for _, kind := range kinds {
			requests = append(requests, map[string]any{"group": group, "kind": kind, "pageSize": 500})
		}
	}
	return requests
}

// delivery makes every call about one delivery and its objects.
func (w *apiWalk) delivery(ctx context.Context, ref any) error {
	about := []map[string]any{{"ref": ref}}
	detail, err := w.call(ctx, "GetDelivery", about[0])
	if err != nil {
		return err
	}
	calls := map[string][]map[string]any{
		"WatchGraph": about, "GetDiff": {{"ref": ref}, {"ref": ref, "all": true}}, "Explain": about, "GetHistory": about,
	}
	for _, action := range []string{"sync", "refresh", "suspend", "resume", "approve", "rollback", "terminate", "delete", "lift"} {
		calls["Act"] = append(calls["Act"], map[string]any{"ref": ref, action: map[string]any{}, "preview": true})
	}
	for _, r := range list(detail, "resources") {
		one := map[string]any{"ref": ref, "object": r["object"]}
		for _, call := range []string{"GetObject", "Explain", "GetDiff", "StreamLogs"} {
			calls[call] = append(calls[call], one)
		}
	}
	return w.each(ctx, calls)
}
