package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5"
	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"plumb.dev/plumb/internal/api"
	"plumb.dev/plumb/internal/control"
	"plumb.dev/plumb/internal/controlplane"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/gitserve"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin"
)

// stage is one run of plumb up: a control plane, a Git server, an engine and
// the objects that make it deliver.
type stage struct {
	*app
	home  upHome
	flags upFlags
	state upState
	temp  string // of an ephemeral run

	plane   *controlplane.Cluster
	cluster *cluster
	git     *http.ServeMux
	failed  chan error // a part has ended by itself
	parts   sync.WaitGroup
}

func newStage(a *app, home upHome, flags upFlags) *stage {
	return &stage{app: a, home: home, flags: flags, failed: make(chan error, 8)}
}

// How long the parts may take to start, to deliver for the first time, and to
// end.
const (
	startWithin   = 2 * time.Minute
	deliverWithin = 30 * time.Second
	stopWithin    = 20 * time.Second
)

// run sets everything up, waits for ctx or for a part that fails, and takes
// everything down again.
func (s *stage) run(ctx context.Context, repo string) (err error) {
	working, stop := context.WithCancel(ctx)
	defer func() { err = errors.Join(err, s.strike(stop)) }()
	if err := s.prepare(); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(working, startWithin)
	defer cancel()
	if err := s.open(starting, working, repo); err != nil {
		return interrupted(ctx, err)
	}
	if err := s.firstDelivery(working); err != nil {
		return interrupted(ctx, err)
	}
	s.state.Ready = true
	if err := s.home.write(s.state); err != nil {
		return err
	}
	if !s.flags.background {
		if err := s.printNextSteps(s.state); err != nil {
			return err
		}
		if s.flags.ephemeral {
			s.say.plain("\nStop with Ctrl-C; nothing is kept.")
		} else {
			s.say.plain("\nStop with Ctrl-C; the next plumb up resumes.")
		}
	}
	select {
	case <-ctx.Done():
		s.say.action("stopping")
		return nil
	case err := <-s.failed:
		return err
	case <-s.plane.Done():
		return fmt.Errorf("the API server has ended: %w", s.plane.Err())
	}
}

// prepare takes up what the last run left.
func (s *stage) prepare() error {
	last, err := s.home.read()
	if err != nil {
		return err
	}
	s.state = upState{
		PID: os.Getpid(), Started: s.now().UTC().Truncate(time.Second), Version: buildVersion(),
		Ephemeral: s.flags.ephemeral, Logs: s.home.logs(),
	}
	if s.flags.ephemeral {
		s.temp, err = os.MkdirTemp("", "plumb-up-")
	} else if !last.Ephemeral {
		s.state.Repositories, s.state.Git = last.Repositories, last.Git
	}
	if err != nil {
		return err
	}
	return s.home.write(s.state)
}

// open starts the parts in the order in which they need each other. What may
// take no longer than starting is bound by it; the parts live as long as
// working.
func (s *stage) open(starting, working context.Context, repo string) error {
	if err := s.startKubernetes(starting); err != nil {
		return err
	}
	if err := s.startGit(working); err != nil {
		return err
	}
	if err := s.addRepository(starting, repo); err != nil {
		return err
	}
	if err := s.startEngine(starting, working); err != nil {
		return err
	}
	for _, r := range s.state.Repositories {
		if err := s.declare(starting, r); err != nil {
			return fmt.Errorf("declare %s: %w", r.Name, err)
		}
	}
	s.watchRepositories(working)
	return nil
}

func (s *stage) startKubernetes(ctx context.Context) error {
	s.say.action("starting Kubernetes")
	options := controlplane.Options{Port: s.flags.port, Kubeconfig: s.home.kubeconfig(), LogFile: s.home.log("kubernetes")}
	if s.flags.kubeconfig != "" {
		options.Kubeconfig = s.path(s.flags.kubeconfig)
	}
	if !s.flags.ephemeral {
		options.DataDir = s.home.cluster()
	}
	plane, err := controlplane.Start(ctx, options)
	if err != nil {
		return err
	}
	s.plane = plane
	s.state.Server, s.state.Kubernetes, s.state.Kubeconfig = plane.Server, plane.Kubernetes, plane.Kubeconfig
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig)
	if err != nil {
		return err
	}
	if s.cluster, err = newCluster(s.tuned(config)); err != nil {
		return err
	}
	s.say.success("Kubernetes %s is ready after %s", plane.Kubernetes, plane.ReadyAfter.Round(10*time.Millisecond))
	return nil
}

// startGit serves local repositories, at the address of the last run if it is
// free: GitRepositories name it.
func (s *stage) startGit(working context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(working, "tcp", s.state.Git)
	if s.state.Git == "" || err != nil {
		if listener, err = lc.Listen(working, "tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	s.state.Git = listener.Addr().String()
	s.git = http.NewServeMux()
	server := &http.Server{Handler: s.git, ReadHeaderTimeout: 10 * time.Second}
	s.parts.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("the Git server has ended: %w", err)
		}
	})
	s.parts.Go(func() {
		<-working.Done()
		_ = server.Close() // requests under way are of no use any more
	})
	var kept []upRepository
	for _, r := range s.state.Repositories {
		if r.Directory != "" {
			if err := s.serve(working, &r); err != nil {
				s.say.warning("%s is not served any more: %v", r.Directory, err)
				continue
			}
		}
		kept = append(kept, r)
	}
	s.state.Repositories = kept
	return nil
}

// serve mounts a local repository.
func (s *stage) serve(ctx context.Context, r *upRepository) error {
	repository, err := gitserve.Open(ctx, r.Directory)
	if err != nil {
		return err
	}
	mount := "/" + r.Name + ".git/"
	s.git.Handle(mount, http.StripPrefix(strings.TrimSuffix(mount, "/"), repository.Handler()))
	r.URL = "http://" + s.state.Git + strings.TrimSuffix(mount, "/")
	s.say.success("serving %s at %s", r.Directory, r.URL)
	return nil
}

var (
	remoteURL = regexp.MustCompile(`^(https?|ssh)://`)
	shortSSH  = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:`) // as git clone takes it, and Flux does not
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// addRepository adds what the user names, or a sample when there is nothing to
// deliver yet.
func (s *stage) addRepository(ctx context.Context, repo string) error {
	r := upRepository{Path: s.flags.path, Branch: s.flags.branch}
	switch {
	case repo == "" && len(s.state.Repositories) > 0:
		return nil
	case repo == "":
		r.Directory = s.sampleDirectory()
		if r.Path == "" {
			r.Path = "./overlays/local"
		}
		if _, err := os.Stat(r.Directory); errors.Is(err, os.ErrNotExist) {
			s.say.action("writing a sample repository to %s", r.Directory)
			if err := gitserve.WriteSample(ctx, r.Directory); err != nil {
				return err
			}
		}
	case remoteURL.MatchString(repo):
		if withoutCredentials(repo) != repo {
			return advise(errors.New("the URL holds a password, which would stand in the cluster for all to read"),
				"leave it out, and name the credentials in a Secret: see docs/guides/private-repositories.md")
		}
		r.URL = repo
	case shortSSH.MatchString(repo) && !exists(s.path(repo)):
		return advise(fmt.Errorf("%q is neither a directory nor a URL", repo),
			"write it as ssh://%s", strings.Replace(repo, ":", "/", 1))
	default:
		abs, err := filepath.Abs(s.path(repo))
		if err != nil {
			return err
		}
		r.Directory = abs
	}
	if r.Path == "" {
		r.Path = "./"
	}
	if again := s.known(r); again != nil {
		if s.flags.name != "" && s.flags.name != again.Name {
			return advise(fmt.Errorf("it is delivered already, by the name of %s", again.Name), "forget the cluster first: plumb down --purge")
		}
		if s.flags.path != "" {
			again.Path = s.flags.path
		}
		if s.flags.branch != "" {
			again.Branch = s.flags.branch
		}
		return nil
	}
	r.Name = s.freeName(r)
	if slices.ContainsFunc(s.state.Repositories, func(has upRepository) bool { return has.Name == r.Name }) {
		return advise(fmt.Errorf("another repository is delivered by the name of %s", r.Name), "take another --name")
	}
	if r.Directory != "" {
		if err := s.serve(ctx, &r); err != nil {
			return err
		}
	}
	if r.Branch == "" {
		var err error
		if r.Branch, err = defaultBranch(ctx, r.URL); err != nil {
			return err
		}
	}
	s.state.Repositories = append(s.state.Repositories, r)
	return nil
}

func (s *stage) sampleDirectory() string {
	if s.temp != "" {
		return filepath.Join(s.temp, "repository")
	}
	return s.home.repository()
}

func (s *stage) known(r upRepository) *upRepository {
	for i := range s.state.Repositories {
		has := &s.state.Repositories[i]
		if (r.Directory != "" && has.Directory == r.Directory) || (r.Directory == "" && has.URL == r.URL) {
			return has
		}
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// freeName names the objects of a repository after it, where no name is given.
func (s *stage) freeName(r upRepository) string {
	if s.flags.name != "" {
		return s.flags.name
	}
	from := r.Directory
	if from == "" {
		from = strings.TrimSuffix(r.URL, "/")
	}
	base := strings.TrimSuffix(path.Base(filepath.ToSlash(from)), ".git")
	if r.Directory == s.sampleDirectory() {
		base = "sample"
	}
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(base), "-"), "-")
	name = strings.Trim(name[:min(len(name), 40)], "-")
	if name == "" {
		name = "repository"
	}
	candidate := name
	for i := 2; ; i++ {
		taken := false
		for _, has := range s.state.Repositories {
			taken = taken || has.Name == candidate
		}
		if !taken {
			return candidate
		}
		candidate = fmt.Sprintf("%s-%d", name, i)
	}
}

// defaultBranch asks a repository which branch is checked out there.
func defaultBranch(ctx context.Context, url string) (string, error) {
	remote := git.NewRemote(memory.NewStorage(), &gitconfig.RemoteConfig{Name: "origin", URLs: []string{url}})
	refs, err := remote.ListContext(ctx, &git.ListOptions{})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return "", advise(errors.New("the repository has no commit yet"), "commit something to it, and run plumb up again")
	}
	if err != nil {
		return "", advise(fmt.Errorf("%s cannot be read: %w", withoutCredentials(url), err), "if it is private, or has no default branch, say which one with --branch")
	}
	var head *plumbing.Reference
	for _, ref := range refs {
		if ref.Name() == plumbing.HEAD {
			head = ref
		}
	}
	if head != nil && head.Type() == plumbing.SymbolicReference {
		return head.Target().Short(), nil
	}
	return "", advise(errors.New("no branch is checked out in the repository"), "say which one is meant with --branch")
}

// shown are the choices of plumb up, and those that it makes for its engine, for
// the page of settings.
func (s *stage) shown(engine *control.Options) []api.Flag {
	effective := map[string]string{"data-dir": s.home.dir, "kubeconfig": s.state.Kubeconfig}
	if server, err := url.Parse(s.state.Server); err == nil && server.Port() != "" {
		effective["port"] = server.Port()
	}
	return append(s.shownFlags(s.flags.set, effective), []api.Flag{
		{Name: "runtime-namespace", Value: control.DefaultNamespace, Help: "namespace of Plumb's own Secret and Lease"},
		{Name: "install-kinds", Value: strconv.FormatBool(engine.InstallKinds), Help: "install or bring up to date the kinds first"},
		{Name: "api-addr", Value: engine.APIAddr, Help: "where the console, its API and webhooks are served"},
		{Name: "metrics-addr", Value: engine.MetricsAddr, Help: "where metrics are served"},
		{Name: "health-addr", Value: engine.HealthAddr, Help: "where health and readiness are served"},
	}...)
}

// startEngine installs the kinds and runs the controller in this process.
func (s *stage) startEngine(starting, working context.Context) error {
	log, err := os.OpenFile(s.home.log("controller"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	logger, err := logFlags{level: "info", encoding: "json"}.logger(log)
	if err != nil {
		return err
	}
	redirects, err := s.flags.redirects.read(s.app)
	if err != nil {
		return err
	}
	for _, r := range s.state.Repositories {
		if r.Directory != "" {
			redirects.All = append(redirects.All, ownRedirects(r.Directory, r.URL)...)
		}
	}
	dir := s.home.controller()
	if s.temp != "" {
		dir = filepath.Join(s.temp, "controller")
	}
	ready := make(chan *control.Running, 1)
	ended := make(chan error, 1)
	options := &control.Options{
		Config: s.cluster.config, Dialects: dialects(), Log: logger,
		DataDir: dir, InstallKinds: true, Redirects: redirects, Settings: dialect.Settings{RemoteBases: s.flags.bases},
		MetricsAddr: "127.0.0.1:0", HealthAddr: "127.0.0.1:0", APIAddr: apiAddr(),
		Ready: func(r *control.Running) {
			select {
			case ready <- r:
			default: // it has yielded to another controller, and is back
			}
		},
	}
	if err := s.withConsole(options, serverFlags{}, s.shown(options), func(model.Secret) {}); err != nil {
		return err
	}
	s.parts.Go(func() {
		defer func() { _ = log.Close() }()
		err := s.controller(working, *options)
		ended <- err
		if working.Err() == nil {
			s.failed <- fmt.Errorf("the engine has ended: %w", err)
		}
	})
	select {
	case running := <-ready:
		s.state.Artifacts = "http://" + running.ArtifactAddr
		s.state.Console = "http://" + running.APIAddr
		s.state.Webhooks = "http://" + running.APIAddr + "/api/webhook"
		s.state.Metrics = "http://" + running.MetricsAddr + "/metrics"
		s.state.Health = "http://" + running.HealthAddr + "/readyz"
		s.say.success("the engine runs")
		return s.standIn(starting, running.HealthAddr)
	case err := <-ended:
		return fmt.Errorf("the engine did not start: %w", err)
	case <-starting.Done():
		return advise(fmt.Errorf("the engine did not start: %w", starting.Err()), "see why in %s", log.Name())
	}
}

// standIn is a Deployment without replicas that tells those who look for
// Plumb in the cluster, as flux check does, that it runs outside of it.
func (s *stage) standIn(ctx context.Context, health string) error {
	for _, o := range append(standInObjects(s.kube.namespace, health), argocdObjects(s.kube.argoNamespace)...) {
		if err := s.cluster.apply(ctx, o); err != nil {
			return fmt.Errorf("%s/%s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func standInObjects(namespace, health string) []*unstructured.Unstructured {
	selector := map[string]any{"app.kubernetes.io/name": deploymentName}
	return []*unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}},
		{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": map[string]any{
				"name": deploymentName, "namespace": namespace,
				"labels":      map[string]any{"app.kubernetes.io/name": deploymentName, partOfLabel: partOfFlux},
				"annotations": map[string]any{runsOutsideAnnotation: "outside the cluster, by plumb up", healthAnnotation: health},
			},
			"spec": map[string]any{
				"replicas": int64(0),
				"selector": map[string]any{"matchLabels": selector},
				"template": map[string]any{
					"metadata": map[string]any{"labels": selector},
					"spec": map[string]any{"containers": []any{map[string]any{
						"name": deploymentName, "image": deploymentName + ":" + imageTag(buildVersion()),
					}}},
				},
			},
		}},
	}
}

// argocdObjects are what an installation of Argo CD begins with, so that its
// command line finds where to put an Application.
func argocdObjects(namespace string) []*unstructured.Unstructured {
	all := map[string]any{"group": "*", "kind": "*"}
	return []*unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}},
		{Object: map[string]any{
			"apiVersion": argo.Group + "/v1alpha1", "kind": "AppProject", "metadata": map[string]any{"name": "default", "namespace": namespace},
			"spec": map[string]any{
				"sourceRepos": []any{"*"}, "clusterResourceWhitelist": []any{all},
				"destinations": []any{map[string]any{"namespace": "*", "server": "*"}},
			},
		}},
	}
}

var notInTags = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// imageTag makes a version fit for an image reference.
func imageTag(version string) string {
	tag := notInTags.ReplaceAllString(version, "-")
	return tag[:min(len(tag), 128)]
}

// declare writes the objects that deliver a repository.
func (s *stage) declare(ctx context.Context, r upRepository) error {
	meta := map[string]any{"name": r.Name, "namespace": s.kube.namespace}
	repository := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": sourceGroup + "/v1", "kind": "GitRepository", "metadata": meta,
		"spec": map[string]any{"interval": "1m", "url": r.URL, "ref": map[string]any{"branch": r.Branch}},
	}}
	delivery := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": kustomizeGroup + "/v1", "kind": "Kustomization", "metadata": meta,
		"spec": map[string]any{
			"interval": "10m", "retryInterval": "1m", "timeout": "1m", "prune": true, "wait": true, "path": r.Path,
			"sourceRef": map[string]any{"kind": "GitRepository", "name": r.Name},
		},
	}}
	for _, o := range []*unstructured.Unstructured{repository, delivery} {
		if err := s.cluster.apply(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// watchRepositories wakes a source at once when its repository moves.
func (s *stage) watchRepositories(working context.Context) {
	for _, r := range s.state.Repositories {
		if r.Directory == "" {
			continue
		}
		s.parts.Go(func() {
			err := gitserve.Watch(working, r.Directory, func() { s.wake(working, r) })
			if err != nil && working.Err() == nil {
				s.say.warning("%s cannot be watched (%v): commits are seen within a minute", r.Directory, err)
			}
		})
	}
}

// wake asks for a look at a source now.
func (s *stage) wake(ctx context.Context, r upRepository) {
	resource, _, err := s.cluster.resource(gitRepositories.group)
	if err == nil {
		err = annotate(ctx, resource.Namespace(s.kube.namespace), r.Name, map[string]any{requestedAt: time.Now().Format(time.RFC3339Nano)})
	}
	if err != nil && ctx.Err() == nil {
		s.say.warning("%s has moved, but its source cannot be woken (%v): it is seen within a minute", r.Name, err)
	}
}

// firstDelivery waits until everything is delivered. What does not get ready is
// said and is no reason to stop: that is what the cluster is for.
func (s *stage) firstDelivery(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, deliverWithin)
	defer cancel()
	for _, r := range s.state.Repositories {
		s.say.waiting("delivering %s", r.place())
		err := s.awaitDelivery(within, gitRepositories, r)
		if err == nil {
			// The source has an artifact: the delivery hears of it at once.
			err = s.awaitDelivery(within, kustomizations, r, "ArtifactFailed")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.say.warning("%s is not ready: %v", r.Name, err)
			s.say.plain("  see why with: plumb explain kustomization %s --kubeconfig %s", r.Name, shellQuoted(s.state.Kubeconfig))
		}
	}
	return nil
}

func (s *stage) awaitDelivery(ctx context.Context, kind *declaredKind, r upRepository, pending ...string) error {
	resource, _, err := s.cluster.resource(kind.group)
	if err != nil {
		return err
	}
	done, err := await(ctx, resource.Namespace(s.kube.namespace), r.Name, func(o *unstructured.Unstructured) (bool, error) {
		return finished(kind, o, pending...)
	})
	if err != nil {
		return err
	}
	s.say.success("%s %s", kind.done, shortHashes(kind.revision(done)))
	return nil
}

// strike takes everything down, in the order in which the parts need each other.
func (s *stage) strike(stop context.CancelFunc) error {
	stop()
	s.parts.Wait()
	var err error
	if s.plane != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		err = s.plane.Stop(ctx)
	}
	if s.temp != "" {
		err = errors.Join(err, os.RemoveAll(s.temp))
	}
	s.state.Ready = false
	return errors.Join(err, s.home.write(s.state))
}

// upObjects lists everything that is declared in the cluster of plumb up.
func (a *app) upObjects(ctx context.Context, state upState) ([]upObject, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", state.Kubeconfig)
	if err != nil {
		return nil, err
	}
	c, err := newCluster(a.tuned(config))
	if err != nil {
		return nil, err
	}
	objects := []upObject{}
	for _, kind := range declaredKinds {
		if kind.family != sources && !kind.delivery {
			continue
		}
		list, err := c.list(ctx, kind, metav1.NamespaceAll, metav1.ListOptions{})
		if meta.IsNoMatchError(err) {
			continue // a cluster of before there was this kind
		}
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			o := &list.Items[i]
			ready, message := readiness(o)
			objects = append(objects, upObject{
				Kind: kind.group.Kind, Namespace: o.GetNamespace(), Name: o.GetName(),
				Revision: kind.revision(o), Suspended: suspended(o), Ready: ready, Message: message,
			})
		}
	}
	return objects, nil
}

// printNextSteps says what can be done now.
func (a *app) printNextSteps(s upState) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nPlumb is up: Kubernetes %s at %s\n\n", s.Kubernetes, s.Server)
	if s.Console != "" {
		fmt.Fprintf(&b, "  Console  %s\n", s.Console)
		if password := a.initialPassword(s); password != "" {
			fmt.Fprintf(&b, "           sign in as admin, with the password %s\n", password)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "  export KUBECONFIG=%s\n\n", shellQuoted(s.Kubeconfig))
	for _, r := range s.Repositories {
		if r.Directory != "" {
			fmt.Fprintf(&b, "Commit to %s (branch %s) and see it arrive.\n", r.Directory, r.Branch)
		} else {
			fmt.Fprintf(&b, "%s (branch %s) is looked at every minute.\n", withoutCredentials(r.URL), r.Branch)
		}
	}
	b.WriteString("\n")
	b.WriteString("  plumb get all -A                 what is declared, and how it is doing\n")
	b.WriteString("  plumb get ks --watch             follow deliveries\n")
	if len(s.Repositories) > 0 {
		fmt.Fprintf(&b, "  %-32s what it has put on the cluster\n", "plumb tree ks "+s.Repositories[0].Name)
		fmt.Fprintf(&b, "  %-32s how the cluster differs from Git\n", "plumb diff ks "+s.Repositories[0].Name)
	}
	b.WriteString("  plumb explain KIND/NAME -n NS    why an object is as it is\n")
	b.WriteString("  plumb status                     addresses and logs\n")
	b.WriteString("  plumb down                       stop\n")
	return a.out("%s", b.String())
}

// initialPassword is admin's first password, which lies in its Secret until
// somebody deletes that; "" when it does not, or cannot be had soon. This cluster
// is the user's own, on the user's own machine.
func (a *app) initialPassword(s upState) string {
	ctx, cancel := context.WithTimeout(context.Background(), passwordWithin)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return ""
	}
	c, err := newCluster(a.tuned(config))
	if err != nil {
		return ""
	}
	secrets := c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(control.DefaultNamespace)
	o, err := await(ctx, secrets, signin.InitialSecretName, func(*unstructured.Unstructured) (bool, error) { return true, nil })
	if err != nil {
		return ""
	}
	value, _, err := dataOf(o, "password")
	if err != nil {
		return ""
	}
	return string(value)
}

// passwordWithin is how long a first start may take to make a password.
const passwordWithin = 5 * time.Second

// shellQuoted makes a path safe to paste.
func shellQuoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
