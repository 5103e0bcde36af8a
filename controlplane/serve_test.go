package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestClusterIsResumed(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	first := begin(t, "--data-dir", directory)
	kubeconfig := read(t, first.Kubeconfig)
	c := first.client(t)
	createDeployment(t, c, "default", "web", 1, template("web", "", podSpec("nginx")))
	awaitAvailable(t, c, "default", "web")
	pod := awaitPod(t, c, "default", "web", "are ready", isReady)
	if err := first.signal(syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v: %s", err, first.stderr)
	}

	// After a good end as after a bad one.
	for _, end := range []os.Signal{syscall.SIGKILL, syscall.SIGINT} {
		next := begin(t, "--data-dir", directory)
		if next.Server != first.Server || !bytes.Equal(read(t, next.Kubeconfig), kubeconfig) {
			t.Errorf("a kubeconfig handed out is not valid any more: %s, then %s", first.Server, next.Server)
		}
		c := next.client(t)
		awaitAvailable(t, c, "default", "web")
		same := awaitPod(t, c, "default", "web", "are ready", isReady)
		if same.UID != pod.UID || same.Status.PodIP != pod.Status.PodIP {
			t.Errorf("the pod was not resumed: %s at %s, then %s at %s", pod.UID, pod.Status.PodIP, same.UID, same.Status.PodIP)
		}
		_ = next.signal(end)
	}
}

func TestPortIsKeptOnlyIfFree(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	first := begin(t, "--data-dir", directory)
	_ = first.signal(syscall.SIGKILL)
	port := strings.TrimPrefix(first.Server, "https://127.0.0.1:")

	other := begin(t, "--ephemeral", "--port", port)
	if other.Server != first.Server {
		t.Errorf("asked for port %s, got %s", port, other.Server)
	}
	again := begin(t, "--data-dir", directory)
	if again.Server == first.Server {
		t.Errorf("two control planes at %s", again.Server)
	}
	if _, err := again.client(t).typed.CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := start("--ephemeral", "--port", port); err == nil || !strings.Contains(err.Error(), "choose another --port") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	first := begin(t, "--data-dir", directory)
	_, err := start("--data-dir", directory)
	if err == nil || !strings.Contains(err.Error(), "is in use by process") || !strings.Contains(err.Error(), "choose another --data-dir") {
		t.Errorf("a second process on the same directory: %v", err)
	}
	if _, err := first.client(t).typed.Discovery().ServerVersion(); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
}

func TestProcessEndsWithItsParent(t *testing.T) {
	t.Parallel()
	p := begin(t, "--ephemeral")
	directory := dataDirOf(p)
	if _, err := os.Stat(directory); err != nil {
		t.Fatal(err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if p.result != nil {
		t.Errorf("%v: %s", p.result, p.stderr)
	}
	if _, err := os.Stat(directory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an ephemeral directory stayed behind: %v", err)
	}
}

func TestNodesFollowTheCommandLine(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	for _, want := range []struct{ flag, names string }{{"2", "node-1 node-2"}, {"1", "node-1"}} {
		p := begin(t, "--data-dir", directory, "--nodes", want.flag)
		nodes, err := p.client(t).typed.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, node := range nodes.Items {
			names = append(names, node.Name)
			if len(node.Spec.Taints) > 0 {
				t.Errorf("node %s is tainted: %v", node.Name, node.Spec.Taints)
			}
			for _, condition := range node.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
					t.Errorf("node %s: %+v", node.Name, condition)
				}
			}
		}
		if got := strings.Join(names, " "); got != want.names {
			t.Errorf("--nodes %s: %s", want.flag, got)
		}
		_ = p.signal(syscall.SIGTERM)
	}
}

func TestQuietByDefault(t *testing.T) {
	t.Parallel()
	p := begin(t, "--ephemeral")
	if err := p.signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if p.stderr.Len() > 0 {
		t.Errorf("standard error: %s", p.stderr)
	}
}

func TestServeRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	foreign := filepath.Join(t.TempDir(), "config")
	write(t, foreign, "apiVersion: v1\nkind: Config\nclusters:\n- name: production\n  cluster: {server: https://example.com}\n")
	cases := map[string]struct {
		arguments []string
		says      string
	}{
		"nowhere to keep it":    {nil, "give either --data-dir DIR"},
		"two places":            {[]string{"--ephemeral", "--data-dir", t.TempDir()}, "give either --data-dir DIR"},
		"too many nodes":        {[]string{"--ephemeral", "--nodes", "100000"}, "from 0 to 1000"},
		"no port":               {[]string{"--ephemeral", "--port", "70000"}, "from 0 to 65535"},
		"somebody's kubeconfig": {[]string{"--ephemeral", "--kubeconfig", foreign}, "holds other clusters (production)"},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := start(want.arguments...); err == nil || !strings.Contains(err.Error(), want.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	if text := read(t, foreign); !strings.Contains(string(text), "production") {
		t.Error("the kubeconfig of another cluster was overwritten")
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	command := newCommand()
	command.SetOut(&out)
	command.SetArgs([]string{"version", "-o", "json"})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	var got Versions
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Protocol != Protocol || got.Version == "" || got.Kubernetes == "" {
		t.Errorf("%s: %v", out.Bytes(), err)
	}
}

// The flags of the linker name the version by hand; this keeps them true.
func TestLinkerFlagsNameTheRequiredVersion(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(string(read(t, "go.mod")), "k8s.io/kubernetes ")
	required, _, _ := strings.Cut(rest, "\n")
	flags := string(read(t, "ldflags.txt"))
	for _, want := range []string{
		"k8s.io/component-base/version.gitVersion=" + required + " ",
		"k8s.io/client-go/pkg/version.gitVersion=" + required + "\n",
	} {
		if !strings.Contains(flags, want) {
			t.Errorf("ldflags.txt lacks %q", want)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
