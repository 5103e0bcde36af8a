package cluster

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

const fakeAccounts = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"metadata":{"name":""},"versions":[{"version":"v1","freshness":"Current","resources":[
	{"resource":"serviceaccounts","responseKind":{"group":"","version":"v1","kind":"ServiceAccount"},"scope":"Namespaced","verbs":["create","get"]}]}]}]}`

func TestTrustIn(t *testing.T) {
	good := map[string]string{"provider": "generic", "address": "API.example.org", "serviceAccountName": "robot"}
	with := func(key, value string) map[string]string {
		out := map[string]string{}
		for k, v := range good {
			out[k] = v
		}
		out[key] = value
		return out
	}
	for name, c := range map[string]struct {
		data    map[string]string
		refused string
		trust   Trust
	}{
		"the least":         {good, "", Trust{Address: "https://api.example.org:443", Namespace: "shop", ServiceAccount: "robot", Audiences: []string{"API.example.org"}}},
		"audiences":         {with("audiences", " one\n\ntwo\n"), "", Trust{Address: "https://api.example.org:443", Namespace: "shop", ServiceAccount: "robot", Audiences: []string{"one", "two"}}},
		"a port and a CA":   {with("address", "https://10.0.0.1:6443"), "", Trust{Address: "https://10.0.0.1:6443", Namespace: "shop", ServiceAccount: "robot", Audiences: []string{"https://10.0.0.1:6443"}}},
		"nothing":           {nil, "names no provider", Trust{}},
		"a cloud":           {with("provider", "aws"), `asks no cloud for clusters and their tokens, and its provider is "aws"`, Trust{}},
		"who knows what":    {with("provider", "ibm"), `its provider "ibm" is unknown`, Trust{}},
		"no address":        {with("address", ""), "no address", Trust{}},
		"not encrypted":     {with("address", "http://10.0.0.1"), "https", Trust{}},
		"no address at all": {with("address", "https://"), "cannot be understood", Trust{}},
		"nobody's account":  {with("serviceAccountName", ""), "names no service account", Trust{}},
	} {
		got, err := TrustIn(c.data, "shop")
		var fault *model.Fault
		switch {
		case c.refused == "" && (err != nil || fmt.Sprint(got) != fmt.Sprint(c.trust)):
			t.Errorf("%s: %+v, %v", name, got, err)
		case c.refused != "" && (!errors.As(err, &fault) || !strings.Contains(fault.Message, c.refused) || fault.Advice == ""):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATrustingClusterIsShownTokensOfTheAccount(t *testing.T) {
	shown := make(chan string, 10)
	remote := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown <- r.Header.Get("Authorization") }))
	defer remote.Close()
	f, local := newFake(t, Options{})
	f.set("/api", fakeAccounts)
	const path = "/api/v1/namespaces/shop/serviceaccounts/robot/token"
	lend := func(token string, life time.Duration) {
		f.set(path, fmt.Sprintf(`{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":%q,"expirationTimestamp":%q}}`, token, time.Now().Add(life).UTC().Format(time.RFC3339)))
	}
	set := &Set{opts: local.opts, local: local, remote: map[string]*Cluster{}}
	trust := Trust{
		Address: remote.URL, Namespace: "shop", ServiceAccount: "robot", Audiences: []string{remote.URL},
		CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: remote.Certificate().Raw})),
	}
	c, err := set.Trusting(trust)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if again, err := set.Trusting(trust); err != nil || again != c {
		t.Errorf("the same trust is another cluster: %v", err)
	}
	if other, err := set.Trusting(Trust{Address: remote.URL, Namespace: "other", ServiceAccount: "robot"}); err != nil || other == c {
		t.Errorf("another account is the same cluster: %v", err)
	}
	ask := func(way http.RoundTripper) (string, error) {
		answer, err := (&http.Client{Transport: way}).Get(remote.URL)
		if err != nil {
			return "", err
		}
		return <-shown, answer.Body.Close()
	}
	lend("first", time.Hour)
	if got, err := ask(c.client); err != nil || got != "Bearer first" {
		t.Errorf("it was shown %q (%v)", got, err)
	}

	who := &identity{local: local, trust: trust, turn: make(chan struct{}, 1)}
	way := &identified{way: remote.Client().Transport, identity: who}
	expect := func(want string) {
		t.Helper()
		if got, err := ask(way); err != nil || got != "Bearer "+want {
			t.Errorf("it was shown %q (%v), not %s", got, err, want)
		}
	}
	lend("second", time.Hour)
	expect("second")
	lend("third", time.Hour)
	expect("second")
	if left := time.Until(who.until); left < 47*time.Minute || left > 49*time.Minute {
		t.Errorf("an hour's token is shown for %s", left)
	}
	who.until = time.Now()
	expect("third")
	if n := f.count(path); n != 3 {
		t.Errorf("%d tokens were asked for", n)
	}
	f.set(path, "")
	who.until = time.Now()
	if _, err := ask(way); err == nil || !strings.Contains(err.Error(), "failed to create kubernetes token for service account 'shop/robot'") || strings.Contains(err.Error(), "third") {
		t.Errorf("without a token: %v", err)
	}
}
