package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/scenario/stage"
)

// words are the commands of the stories; doc.go explains them.
func words() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"git-commit":         plain(gitCommit),
		"git-remove":         plain(gitRemove),
		"git":                plain(gitWord),
		"git-server":         plain(gitServer),
		"wake":               plain(wakeWord),
		"apply":              canFail(applyWord),
		"await":              plain(awaitWord),
		"expect":             plain(expectWord),
		"await-event":        plain(awaitEvent),
		"remember":           plain(rememberWord),
		"get":                plain(getWord),
		"patch":              canFail(patchWord),
		"label":              plain(metadataWord("labels")),
		"annotate":           plain(metadataWord("annotations")),
		"delete":             plain(deleteWord),
		"plumb":              plumbWord,
		"plumb-login":        plumbLogin,
		"plumb-sso":          plain(plumbSSO),
		"own-cluster":        plain(ownCluster),
		"start-controller":   plain(startController),
		"stop-controller":    plain(stopController),
		"kill-controller":    plain(killController),
		"restart-controller": plain(restartController),
		"restart-cluster":    plain(restartCluster),
		"audit-mark":         plain(auditMark),
		"audit-writes":       plain(auditWrites),
		"search-everything":  plain(searchEverything),
		"second-cluster":     plain(secondCluster),
		"describe-cluster":   plain(describeCluster),
		"web":                plain(webWord),
		"webhook":            plain(webhookWord),
		"pack":               plain(packFiles),
		"push-chart":         plain(pushChart),
		"push-artifact":      plain(pushArtifact),
		"sign-artifact":      plain(signArtifact),
		"fill-bucket":        plain(fillBucket),
		"warehouse":          plain(warehouseWord),
		"download":           plain(downloadWord),
		"helm-record":        plain(helmRecord),
		"sops-encrypt":       plain(sopsEncrypt),
		"lose-state":         plain(loseState),
		"metrics":            plain(metricsWord),
		"account":            plain(accountWord),
		"policy":             plain(policyWord),
		"api":                canFail(apiWord),
		"await-api":          plain(awaitAPI),
		"remember-api":       plain(rememberAPI),
		"open-stream":        plain(openStream),
		"await-stream":       plain(awaitStream),
		"api-everything":     plain(apiEverything),
		"argocd":             argocdWord,
		"argocd-begin":       plain(argocdBegin),
		"await-argocd":       plain(awaitArgocd),
		"argocd-ends":        plain(argocdEnds),
		"argocd-sso":         plain(argocdSSO),
		"dex":                plain(dexWord),
		"certificate":        plain(certificateWord),
	}
}

type word func(ts *testscript.TestScript, s *story, args []string) error

// plain is a word that has to succeed.
func plain(do word) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, negated bool, args []string) {
		if negated {
			ts.Fatalf("this word takes no \"!\"")
		}
		_ = ts.Stdout() // forgets what the word before printed
		ts.Check(do(ts, of(ts), args))
	}
}

// canFail is a word that a story may expect to fail; stderr then says why.
func canFail(do word) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, negated bool, args []string) {
		_ = ts.Stdout()
		err := do(ts, of(ts), args)
		switch {
		case !negated:
			ts.Check(err)
		case err == nil:
			ts.Fatalf("it succeeded")
		default:
			fmt.Fprintln(ts.Stderr(), err)
		}
	}
}

var errUsage = errors.New("see doc.go for how this word is used")

// options takes leading words that begin with "-" off the arguments.
func options(args []string, takeValue ...string) (map[string]string, []string) {
	found := map[string]string{}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name := args[0]
		args = args[1:]
		found[name] = ""
		for _, takes := range takeValue {
			if takes == name && len(args) > 0 {
				found[name], args = args[0], args[1:]
			}
		}
	}
	return found, args
}

func limit(of time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), of)
}

func gitCommit(ts *testscript.TestScript, s *story, args []string) error {
	opts, dirs := options(args, "-m")
	if _, only := opts["-only"]; only {
		if err := s.repo.Empty(); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := s.repo.Lay(ts.MkAbs(dir), s.filled); err != nil {
			return err
		}
	}
	message := opts["-m"]
	if message == "" {
		message = "lay " + strings.Join(dirs, ", ")
	}
	head, err := s.repo.Commit(message)
	if err != nil {
		return err
	}
	s.learn(ts, "HEAD", head)
	if _, quiet := opts["-quiet"]; quiet {
		return nil
	}
	return wakeWord(ts, s, nil)
}

func gitRemove(_ *testscript.TestScript, s *story, args []string) error {
	for _, path := range args {
		if err := os.RemoveAll(filepath.Join(s.repo.Dir(), filepath.FromSlash(path))); err != nil {
			return err
		}
	}
	return nil
}

func gitWord(ts *testscript.TestScript, s *story, args []string) error {
	out, err := s.repo.Git(args...)
	if err != nil {
		return err
	}
	fmt.Fprintln(ts.Stdout(), out)
	head, err := s.repo.Head()
	if err != nil {
		return err
	}
	s.learn(ts, "HEAD", head)
	return nil
}

func gitServer(_ *testscript.TestScript, s *story, args []string) error {
	switch {
	case len(args) == 3 && stage.Mood(args[0]) == stage.Private:
		s.forge.Guard(s.repo.Name(), args[1], args[2])
	case len(args) == 1 && args[0] == "asked":
		return s.forge.AwaitAsked(s.repo.Name(), awaitLimit)
	case len(args) == 1 && stage.Mood(args[0]) != stage.Private:
		s.forge.SetMood(s.repo.Name(), stage.Mood(args[0]))
	default:
		return errUsage
	}
	return nil
}

// wakeWord annotates the sources of the story, or one object, as "flux
// reconcile" and a webhook receiver do.
func wakeWord(ts *testscript.TestScript, s *story, args []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	var targets []stage.Name
	for _, arg := range args {
		name, err := stage.ParseName(arg, s.known["NS"])
		if err != nil {
			return err
		}
		targets = append(targets, name)
	}
	if len(args) == 0 {
		sources, err := th.kube.List(ctx, "gitrepository", s.known["NS"])
		if err != nil {
			return err
		}
		for _, source := range sources {
			targets = append(targets, stage.Name{Kind: "gitrepository", Namespace: source.GetNamespace(), Name: source.GetName()})
		}
	}
	if len(args) == 0 {
		if err := th.push(ctx, s.known["REPO_URL"]); err != nil {
			return err
		}
	}
	s.wakes++
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"wake-%d"}}}`, s.wakes)
	for _, target := range targets {
		if kind := strings.ToLower(target.Kind); strings.HasPrefix(kind, "application") && !strings.HasPrefix(kind, "applicationset") {
			patch = `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`
		}
		if err := th.kube.Patch(ctx, target, []byte(patch)); err != nil {
			return fmt.Errorf("wake %s: %w", target, err)
		}
	}
	return nil
}

func applyWord(ts *testscript.TestScript, s *story, args []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	opts, files := options(args, "-as")
	manager := opts["-as"]
	if manager == "" {
		manager = storyManager
	}
	_, clientSide := opts["-client-side"]
	for _, file := range files {
		for _, o := range s.objects(ts, file) {
			write := func() error { return th.kube.Apply(ctx, o, manager) }
			if clientSide {
				write = func() error { return th.kube.ApplyClientSide(ctx, o) }
			}
			if err := write(); err != nil {
				return fmt.Errorf("apply %s/%s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}

// asked reads KIND/NAME QUESTION...
func asked(s *story, args []string) (stage.Name, stage.Question, error) {
	if len(args) < 2 {
		return stage.Name{}, stage.Question{}, errUsage
	}
	name, err := stage.ParseName(args[0], s.known["NS"])
	if err != nil {
		return name, stage.Question{}, err
	}
	question, err := stage.ParseQuestion(args[1:])
	return name, question, err
}

func awaitWord(_ *testscript.TestScript, s *story, args []string) error {
	opts, args := options(args, "-for", "-on")
	wait := awaitLimit
	if given, ok := opts["-for"]; ok {
		var err error
		if wait, err = time.ParseDuration(given); err != nil {
			return err
		}
	}
	name, question, err := asked(s, args)
	if err != nil {
		return err
	}
	kube, err := s.kube(opts)
	if err != nil {
		return err
	}
	ctx, done := limit(wait)
	defer done()
	return s.watchful(ctx, func(ctx context.Context) error { return kube.Await(ctx, name, question) })
}

func expectWord(_ *testscript.TestScript, s *story, args []string) error {
	opts, args := options(args, "-on")
	name, question, err := asked(s, args)
	if err != nil {
		return err
	}
	kube, err := s.kube(opts)
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	object, err := kube.Get(ctx, name)
	if err != nil {
		return err
	}
	if seen := question.Ask(object); seen != "" {
		return fmt.Errorf("%s: %s", name, seen)
	}
	return nil
}

func awaitEvent(_ *testscript.TestScript, s *story, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errUsage
	}
	name, err := stage.ParseName(args[0], s.known["NS"])
	if err != nil {
		return err
	}
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	return s.watchful(ctx, func(ctx context.Context) error {
		return th.kube.AwaitEvent(ctx, name, args[1], strings.Join(args[2:], ""))
	})
}

func rememberWord(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 3 {
		return errUsage
	}
	value, err := read(s, args[1], args[2])
	if err != nil {
		return err
	}
	if value == "" {
		return fmt.Errorf("%s of %s is empty", args[2], args[1])
	}
	s.learn(ts, args[0], value)
	return nil
}

// read gets one field of one object.
func read(s *story, object, path string) (string, error) {
	th, err := s.stage()
	if err != nil {
		return "", err
	}
	name, err := stage.ParseName(object, s.known["NS"])
	if err != nil {
		return "", err
	}
	field, err := stage.NewField(path)
	if err != nil {
		return "", err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	o, err := th.kube.Get(ctx, name)
	if err != nil {
		return "", err
	}
	return field.Of(o)
}

func getWord(ts *testscript.TestScript, s *story, args []string) error {
	switch len(args) {
	case 2:
		value, err := read(s, args[0], args[1])
		if err != nil {
			return err
		}
		fmt.Fprintln(ts.Stdout(), value)
		return nil
	case 1:
		th, err := s.stage()
		if err != nil {
			return err
		}
		name, err := stage.ParseName(args[0], s.known["NS"])
		if err != nil {
			return err
		}
		ctx, done := limit(awaitLimit)
		defer done()
		o, err := th.kube.Get(ctx, name)
		if err != nil {
			return err
		}
		if o == nil {
			return fmt.Errorf("%s does not exist", name)
		}
		text, err := stage.Steady(o)
		if err != nil {
			return err
		}
		fmt.Fprint(ts.Stdout(), text)
		return nil
	}
	return errUsage
}

func patchWord(_ *testscript.TestScript, s *story, args []string) error {
	opts, args := options(args, "-on")
	if len(args) != 2 {
		return errUsage
	}
	var subresource []string
	if _, ok := opts["-status"]; ok {
		subresource = []string{"status"}
	}
	kube, err := s.kube(opts)
	if err != nil {
		return err
	}
	return patchObject(s, kube, args[0], []byte(s.fill(args[1])), subresource...)
}

func patchObject(s *story, kube *stage.Kube, object string, patch []byte, subresource ...string) error {
	name, err := stage.ParseName(object, s.known["NS"])
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	return kube.Patch(ctx, name, patch, subresource...)
}

// metadataWord sets (KEY=VALUE) and removes (KEY-) labels or annotations.
func metadataWord(field string) word {
	return func(_ *testscript.TestScript, s *story, args []string) error {
		if len(args) < 2 {
			return errUsage
		}
		values := map[string]any{}
		for _, arg := range args[1:] {
			if key, value, ok := strings.Cut(arg, "="); ok {
				values[key] = value
			} else if key, ok := strings.CutSuffix(arg, "-"); ok {
				values[key] = nil
			} else {
				return errUsage
			}
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{field: values}})
		if err != nil {
			return err
		}
		kube, err := s.kube(nil)
		if err != nil {
			return err
		}
		return patchObject(s, kube, args[0], patch)
	}
}

func deleteWord(_ *testscript.TestScript, s *story, args []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	opts, args := options(args)
	remove := th.kube.Delete
	if _, orphan := opts["-orphan"]; orphan {
		remove = th.kube.Orphan
	}
	for _, arg := range args {
		name, err := stage.ParseName(arg, s.known["NS"])
		if err != nil {
			return err
		}
		if err := remove(ctx, name); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	return nil
}

// plumbWord runs the command line in a process of its own, against the story's
// cluster and namespace.
func plumbWord(ts *testscript.TestScript, negated bool, args []string) {
	runPlumb(ts, negated, "", args)
}

// plumbEnvironment is that of the command line. Where it signs in is kept with the
// story.
func plumbEnvironment(ts *testscript.TestScript, s *story, th *theatre) []string {
	return []string{
		programVariable + "=1", raceOptions, "XDG_CONFIG_HOME=" + ts.MkAbs(".config"), "KUBECONFIG=" + th.plane.Kubeconfig(), "FLUX_SYSTEM_NAMESPACE=" + s.known["NS"],
		"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"),
	}
}

// runPlumb runs the command line with a text as its input.
func runPlumb(ts *testscript.TestScript, negated bool, input string, args []string) {
	s := of(ts)
	th, err := s.stage()
	ts.Check(err)
	self, err := program()
	ts.Check(err)
	ctx, done := limit(awaitLimit)
	defer done()
	command := exec.CommandContext(ctx, self, args...)
	command.Dir = ts.MkAbs(".")
	command.Stdin = strings.NewReader(input)
	command.Env = plumbEnvironment(ts, s, th)
	var out, complaint strings.Builder
	command.Stdout, command.Stderr = &out, &complaint
	err = command.Run()
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), complaint.String())
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() > 0 && failed.ExitCode() != raceExitCode:
		if !negated {
			ts.Fatalf("%v\n%s%s", err, out.String(), complaint.String())
		}
	case err != nil:
		ts.Fatalf("%v\n%s%s", err, out.String(), complaint.String())
	case negated:
		ts.Fatalf("it succeeded\n%s", out.String())
	}
}

func ownCluster(_ *testscript.TestScript, s *story, args []string) error {
	opts, _ := options(args)
	_, audit := opts["-audit"]
	return s.openOwn(audit)
}

// cast finds the controller that a word is about.
func cast(s *story, args []string) (*theatre, string, []string, error) {
	name := "main"
	if len(args) >= 2 && args[0] == "-name" {
		name, args = args[1], args[2:]
	}
	if !s.own {
		return nil, "", nil, errors.New("the common controller serves every story: begin with own-cluster")
	}
	th, err := s.stage()
	return th, name, args, err
}

// running is a controller that has been started before.
func running(s *story, args []string) (*theatre, string, *controller, error) {
	th, name, _, err := cast(s, args)
	if err != nil {
		return nil, "", nil, err
	}
	c := th.controller(name)
	if c == nil || c.proc == nil {
		return nil, "", nil, fmt.Errorf("no controller %s was started", name)
	}
	return th, name, c, nil
}

func startController(_ *testscript.TestScript, s *story, args []string) error {
	th, name, flags, err := cast(s, args)
	if err != nil {
		return err
	}
	for i := range flags {
		flags[i] = s.fill(flags[i])
	}
	return th.begin(name, flags, nil)
}

func stopController(_ *testscript.TestScript, s *story, args []string) error {
	_, _, c, err := running(s, args)
	if err != nil {
		return err
	}
	return c.stop()
}

func killController(_ *testscript.TestScript, s *story, args []string) error {
	_, _, c, err := running(s, args)
	if err != nil {
		return err
	}
	c.kill()
	return nil
}

func restartController(_ *testscript.TestScript, s *story, args []string) error {
	th, name, c, err := running(s, args)
	if err != nil {
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	return th.begin(name, nil, nil)
}

func restartCluster(_ *testscript.TestScript, s *story, _ []string) error {
	if !s.own {
		return errors.New("the common cluster serves every story: begin with own-cluster")
	}
	ctx, done := limit(startLimit)
	defer done()
	return s.th.plane.Restart(ctx)
}

func auditMark(_ *testscript.TestScript, s *story, _ []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	s.audited, err = stage.AuditEnd(th.plane.AuditLog())
	return err
}

func auditWrites(ts *testscript.TestScript, s *story, args []string) error {
	opts, resources := options(args, "-as", "-not-as")
	th, err := s.stage()
	if err != nil {
		return err
	}
	requests, err := stage.ReadAudit(th.plane.AuditLog(), s.audited)
	if err != nil {
		return err
	}
	as, wantAs := opts["-as"]
	notAs, wantNotAs := opts["-not-as"]
	for _, r := range requests {
		switch {
		case !r.ByPlumb() || !r.Write() || r.Resource == "leases":
		case len(resources) > 0 && !slices.Contains(resources, r.Resource):
		case wantAs && r.User != as || wantNotAs && r.User == notAs:
		default:
			fmt.Fprintln(ts.Stdout(), r)
		}
	}
	return nil
}

// secondCluster starts another cluster without Plumb's kinds, and puts its
// kubeconfig where the story's objects can name it.
func secondCluster(ts *testscript.TestScript, s *story, _ []string) error {
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(startLimit)
	defer done()
	plane, err := stage.StartPlane(ctx, filepath.Join(s.work, ".second"), 0, false)
	if err != nil {
		return err
	}
	s.cleanups(func() {
		if err := plane.Stop(); err != nil {
			s.failed(err)
		}
	})
	cfg, err := plane.Config()
	if err != nil {
		return err
	}
	if s.second, err = stage.NewKube(cfg); err != nil {
		return err
	}
	connection, err := clusterConfig(cfg)
	if err != nil {
		return err
	}
	s.learn(ts, "SECOND_SERVER", cfg.Host)
	s.learn(ts, "SECOND_CONFIG", connection)
	content, err := os.ReadFile(plane.Kubeconfig())
	if err != nil {
		return err
	}
	return th.kube.Apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": "second", "namespace": s.known["NS"]},
		"stringData": map[string]any{"value": string(content)},
	}}, storyManager)
}

// clusterConfig is the credential of a cluster as a cluster Secret of Argo CD
// holds it (v1alpha1.ClusterConfig).
func clusterConfig(cfg *rest.Config) (string, error) {
	text, err := json.Marshal(map[string]any{
		"bearerToken": cfg.BearerToken,
		"tlsClientConfig": map[string]any{
			"caData": cfg.CAData, "certData": cfg.CertData, "keyData": cfg.KeyData, "serverName": cfg.ServerName,
		},
	})
	return string(text), err
}

// webWord tells the story's web server what it answers from now on.
func webWord(ts *testscript.TestScript, s *story, args []string) error {
	opts, args := options(args, "-status", "-token")
	if len(args) < 1 || len(args) > 2 {
		return errUsage
	}
	answer := stage.Answer{Token: opts["-token"], Status: http.StatusOK}
	if text, given := opts["-status"]; given {
		var err error
		if answer.Status, err = strconv.Atoi(text); err != nil {
			return err
		}
	}
	if s.web == nil {
		web, err := stage.NewWeb()
		if err != nil {
			return err
		}
		s.web = web
		s.cleanups(web.Close)
		s.learn(ts, "WEB_URL", web.URL())
	}
	if len(args) == 2 {
		answer.Body = []byte(s.fill(ts.ReadFile(args[1])))
	}
	s.web.Tell(args[0], answer)
	return nil
}

// webhookWord posts a payload to the controllers, as a forge does.
func webhookWord(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	name, value, ok := strings.Cut(args[0], ": ")
	if !ok {
		return errUsage
	}
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	return th.post(ctx, http.Header{name: {value}}, []byte(s.fill(ts.ReadFile(args[1]))))
}

// loseState removes what a controller that does not run keeps on disk.
func loseState(_ *testscript.TestScript, s *story, args []string) error {
	_, _, c, err := running(s, args)
	if err != nil {
		return err
	}
	if c.proc.Running() {
		return errors.New("kill the controller first")
	}
	return os.RemoveAll(c.dir)
}

// searchEverything prints where a text shows that must not be seen: logs,
// files, metrics, and every object but Secrets.
func searchEverything(ts *testscript.TestScript, s *story, args []string) error {
	opts, args := options(args)
	if len(args) != 1 || len(args[0]) < 8 {
		return errUsage
	}
	th, err := s.stage()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	_, inGit := opts["-in-git"]
	found, err := th.search(ctx, s.known["NS"], args[0], inGit)
	for _, place := range found {
		fmt.Fprintln(ts.Stdout(), place)
	}
	return err
}

// shows reports whether an object shows a text anywhere.
func shows(o *unstructured.Unstructured, text string) bool {
	content, err := json.Marshal(o.Object)
	return err == nil && strings.Contains(string(content), text)
}
