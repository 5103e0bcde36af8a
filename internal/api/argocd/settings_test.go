package argocd_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"plumb.dev/plumb/internal/api/argocd"
)

func TestSession(t *testing.T) {
	s := setup(t)
	const session = "session.SessionService/"
	if got := s.must("", session+"Create", map[string]any{"username": "admin", "password": "admin-password"}); got["token"] != "token-admin" {
		t.Errorf("got %v", got)
	}
	s.refused(connect.CodeUnauthenticated, "invalid username or password", "", session+"Create", map[string]any{"username": "admin", "password": "x"})
	s.refused(connect.CodeUnauthenticated, "no credentials supplied", "", session+"Create", map[string]any{})
	if got := s.must("", session+"GetUserInfo", map[string]any{}); got["loggedIn"] != nil {
		t.Errorf("got %v", got)
	}
	if got := s.must("reader", session+"GetUserInfo", map[string]any{}); got["username"] != "reader" || got["iss"] != "argocd" || got["loggedIn"] != true {
		t.Errorf("got %v", got)
	}
	s.must("reader", session+"Delete", map[string]any{})
	if !reflect.DeepEqual(s.door.out, []string{"token-reader"}) {
		t.Errorf("signed out: %v", s.door.out)
	}
	// what is told before signing in, and after
	before, after := s.must("", "cluster.SettingsService/Get", map[string]any{}), s.must("reader", "cluster.SettingsService/Get", map[string]any{})
	if pick(before, "oidcConfig", "cliClientID") != "plumb-cli" || before["controllerNamespace"] != nil || after["controllerNamespace"] != "argocd" || after["passwordPattern"] != "^.{8,32}$" {
		t.Errorf("before %v, after %v", before, after)
	}
	if got := s.must("", "version.VersionService/Version", map[string]any{}); got["Version"] != "v3.6.0+plumb" || got["GoVersion"] != nil {
		t.Errorf("got %v", got)
	}
}

func TestAccounts(t *testing.T) {
	s := setup(t)
	const account = "account.AccountService/"
	if got := names(s.must("reader", account+"ListAccounts", map[string]any{})); !reflect.DeepEqual(got, []string{"admin", "ci"}) {
		t.Errorf("got %v", got)
	}
	if got := names(s.must("ci", account+"ListAccounts", map[string]any{})); !reflect.DeepEqual(got, []string{"ci"}) {
		t.Errorf("got %v", got)
	}
	s.refused(connect.CodePermissionDenied, "permission denied to get account admin", "ci", account+"GetAccount", map[string]any{"name": "admin"})
	if got := s.must("ci", account+"CreateToken", map[string]any{"name": "ci", "id": "t1"}); got["token"] != "api-ci" {
		t.Errorf("got %v", got)
	}
	got := s.must("admin", account+"GetAccount", map[string]any{"name": "ci"})
	if tokens, _ := got["tokens"].([]any); len(tokens) != 1 {
		t.Errorf("got %v", got)
	}
	s.refused(connect.CodePermissionDenied, "permission denied", "reader", account+"DeleteToken", map[string]any{"name": "ci", "id": "t1"})
	s.must("admin", account+"DeleteToken", map[string]any{"name": "ci", "id": "t1"})
	for who, want := range map[string]string{"admin": "yes", "reader": "no"} {
		if got := s.must(who, account+"CanI", map[string]any{"resource": "applications", "action": "sync", "subresource": "shop/argocd/shop"}); got["value"] != want {
			t.Errorf("%s: %v", who, got)
		}
	}
	s.refused(connect.CodeInvalidArgument, "does not contain fly", "admin", account+"CanI", map[string]any{"resource": "applications", "action": "fly"})
	s.must("admin", account+"UpdatePassword", map[string]any{"currentPassword": "admin-password", "newPassword": "another"})
	s.refused(connect.CodeInvalidArgument, "current password does not match", "admin", account+"UpdatePassword", map[string]any{"currentPassword": "x", "newPassword": "another"})
	s.refused(connect.CodePermissionDenied, "accounts, update, admin", "reader", account+"UpdatePassword", map[string]any{"name": "admin", "currentPassword": "x", "newPassword": "y"})
}

func TestProjects(t *testing.T) {
	s := setup(t, project, defaultProject, shop)
	const service = "project.ProjectService/"
	if got := names(s.must("shopkeeper", service+"List", map[string]any{})); !reflect.DeepEqual(got, []string{"shop"}) {
		t.Errorf("got %v", got)
	}
	created := map[string]any{"metadata": map[string]any{"name": "new"}, "spec": map[string]any{
		"clusterResourceWhitelist": []any{map[string]any{"group": "", "kind": "Namespace"}},
		"roles":                    []any{map[string]any{"name": "r", "policies": []any{"p,proj:new:r,applications,get,new/*,allow"}}},
	}}
	s.must("admin", service+"Create", map[string]any{"project": created})
	o, err := s.objects.Get(context.Background(), argocd.KindProject, "argocd", "new")
	if err != nil || !strings.Contains(fmt.Sprint(o.Object), "map[group: kind:Namespace]") || !strings.Contains(fmt.Sprint(o.Object), "p, proj:new:r, applications, get, new/*, allow") {
		t.Errorf("got %v (%v)", o, err)
	}
	created["spec"] = map[string]any{"description": "another"}
	s.refused(connect.CodeInvalidArgument, `existing project spec is different; use upsert flag to force update; difference in keys "clusterResourceWhitelist,description,roles"`, "admin", service+"Create", map[string]any{"project": created})
	s.must("admin", service+"Create", map[string]any{"project": created, "upsert": true})
	s.refused(connect.CodeInvalidArgument, "error validating project", "admin", service+"Create", map[string]any{"project": map[string]any{"metadata": map[string]any{"name": "bad"}, "spec": map[string]any{
		"roles": []any{map[string]any{"name": "r", "policies": []any{"p, proj:other:r, applications, get, other/*, allow"}}},
	}}})

	got := s.must("admin", service+"Get", map[string]any{"name": "shop"})
	spec, _ := got["spec"].(map[string]any)
	spec["sourceRepos"] = []any{"https://example.org/elsewhere.git"}
	s.refused(connect.CodeInvalidArgument, "as a result of project update 1 applications source became invalid", "admin", service+"Update", map[string]any{"project": got})
	spec["sourceRepos"], spec["description"] = []any{"*"}, "wide"
	if got := s.must("admin", service+"Update", map[string]any{"project": got}); pick(got, "spec", "description") != "wide" {
		t.Errorf("got %v", got)
	}
	s.refused(connect.CodeAborted, "", "admin", service+"Update", map[string]any{"project": got}) // it was changed in between
	s.refused(connect.CodeInvalidArgument, "project is referenced by 1 applications", "admin", service+"Delete", map[string]any{"name": "shop"})
	s.refused(connect.CodeInvalidArgument, "name 'default' is reserved and cannot be deleted", "admin", service+"Delete", map[string]any{"name": "default"})
	s.must("admin", service+"Delete", map[string]any{"name": "new"})
}

func TestTokensOfProjects(t *testing.T) {
	s := setup(t, project)
	const service = "project.ProjectService/"
	if got := s.must("admin", service+"CreateToken", map[string]any{"project": "shop", "role": "ci", "id": "one"}); got["token"] != "proj-shop-ci" {
		t.Errorf("got %v", got)
	}
	s.refused(connect.CodeInvalidArgument, "Token id 'one' has been used", "admin", service+"CreateToken", map[string]any{"project": "shop", "role": "ci", "id": "one"})
	s.refused(connect.CodeNotFound, "project 'shop' does not have role 'none'", "admin", service+"CreateToken", map[string]any{"project": "shop", "role": "none"})
	s.refused(connect.CodePermissionDenied, "projects, update, shop", "reader", service+"CreateToken", map[string]any{"project": "shop", "role": "ci"})
	listed := func() (int, int) {
		o, err := s.objects.Get(context.Background(), argocd.KindProject, "argocd", "shop")
		if err != nil {
			t.Fatal(err)
		}
		roles, _ := pick(o.Object, "spec", "roles").([]any)
		role, _ := roles[0].(map[string]any)
		inSpec, _ := role["jwtTokens"].([]any)
		inStatus, _ := pick(o.Object, "status", "jwtTokensByRole", "ci", "items").([]any)
		return len(inSpec), len(inStatus)
	}
	if a, b := listed(); a != 1 || b != 1 {
		t.Errorf("listed %d and %d times", a, b)
	}
	s.must("admin", service+"DeleteToken", map[string]any{"project": "shop", "role": "ci", "iat": int64(1700000001)})
	if a, b := listed(); a != 0 || b != 0 {
		t.Errorf("listed %d and %d times", a, b)
	}
}

func TestRepositoriesHideCredentials(t *testing.T) {
	s := setup(t)
	const service = "repository.RepositoryService/"
	repo := map[string]any{"repo": "https://example.org/shop.git", "username": "bot", "password": canary, "sshPrivateKey": canary, "project": "shop", "githubAppPrivateKey": canary, "depth": int64(3)}
	for _, step := range []struct {
		call    string
		request map[string]any
	}{
		{"CreateRepository", map[string]any{"repo": repo}}, {"UpdateRepository", map[string]any{"repo": repo}}, {"ListRepositories", map[string]any{}},
		{"Get", map[string]any{"repo": "https://example.org/shop"}}, {"CreateRepository", map[string]any{"repo": repo}},
	} {
		answer := s.must("admin", service+step.call, step.request)
		withoutCanary(t, step.call, answer)
		if !strings.Contains(fmt.Sprint(answer), "https://example.org/shop.git") {
			t.Errorf("%s: got %v", step.call, answer)
		}
	}
	all, _, err := s.objects.List(context.Background(), argocd.KindSecret, "argocd", nil)
	if err != nil || len(all) != 1 || pick(all[0].Object, "data", "password") != canaryEncoded {
		t.Fatalf("stored %v (%v)", all, err)
	}
	repo["username"] = "another"
	_, err = s.as("admin", service+"CreateRepository", map[string]any{"repo": repo})
	if connect.CodeOf(err) != connect.CodeInvalidArgument || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), `difference in keys "username"`) {
		t.Errorf("got %v", err)
	}
	if got := s.must("shopkeeper", service+"ListRepositories", map[string]any{}); !strings.Contains(fmt.Sprint(got), "Successful") {
		t.Errorf("got %v", got)
	}
	if got := s.must("stranger", service+"ListRepositories", map[string]any{}); got["items"] != nil {
		t.Errorf("got %v", got)
	}
	s.refused(connect.CodeInvalidArgument, "error testing repository connectivity: dial tcp", "admin", service+"CreateRepository", map[string]any{"repo": map[string]any{"repo": "https://unreachable/x"}})
	s.refused(connect.CodePermissionDenied, "permission denied", "stranger", service+"DeleteRepository", map[string]any{"repo": "https://nowhere/x"})
	s.must("admin", service+"DeleteRepository", map[string]any{"repo": "https://example.org/shop.git"})
	if all, _, err = s.objects.List(context.Background(), argocd.KindSecret, "argocd", nil); err != nil || len(all) != 0 {
		t.Errorf("left %v (%v)", all, err)
	}
	const creds = "repocreds.RepoCredsService/"
	withoutCanary(t, "creds", s.must("admin", creds+"CreateRepositoryCredentials", map[string]any{"creds": map[string]any{"url": "https://example.org/", "password": canary, "username": "bot"}}))
	got := s.must("admin", creds+"ListRepositoryCredentials", map[string]any{})
	withoutCanary(t, "creds", got)
	if !strings.Contains(fmt.Sprint(got), "username:bot") {
		t.Errorf("got %v", got)
	}
	s.must("admin", creds+"DeleteRepositoryCredentials", map[string]any{"url": "https://example.org/"})
}

func TestClustersHideCredentials(t *testing.T) {
	s := setup(t, defaultProject, other)
	const service = "cluster.ClusterService/"
	sent := map[string]any{"server": "https://far.example.org", "name": "far", "labels": map[string]any{"env": "prod"}, "namespaces": []any{"a", "b"},
		"config": map[string]any{"bearerToken": canary, "password": canary, "tlsClientConfig": map[string]any{"insecure": true, "keyData": canaryEncoded}}}
	withoutCanary(t, "Create", s.must("admin", service+"Create", map[string]any{"cluster": sent}))
	list := s.must("reader", service+"List", map[string]any{})
	withoutCanary(t, "List", list)
	if got := names(list); !reflect.DeepEqual(got, []string{"far", "in-cluster"}) {
		t.Errorf("got %v", got)
	}
	one := s.must("admin", service+"Get", map[string]any{"id": map[string]any{"type": "name", "value": "far"}})
	withoutCanary(t, "Get", one)
	if one["serverVersion"] != "v1.37.1" || pick(one, "labels", "env") != "prod" || pick(one, "connectionState", "status") != "Successful" || !reflect.DeepEqual(one["namespaces"], []any{"a", "b"}) {
		t.Errorf("got %v", one)
	}
	s.must("admin", service+"Update", map[string]any{"cluster": map[string]any{"server": "https://far.example.org", "name": "farther"}, "updatedFields": []any{"name"}})
	all, _, err := s.objects.List(context.Background(), argocd.KindSecret, "argocd", nil)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	encoded, _ := pick(all[0].Object, "data", "config").(string)
	config, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || !strings.Contains(string(config), canary) || pick(all[0].Object, "data", "name") != base64.StdEncoding.EncodeToString([]byte("farther")) {
		t.Errorf("the update changed more than the name: %v", all[0].Object["data"])
	}
	sent["name"] = "farther" // as it is now: nothing is written, and no right to change it is asked for
	s.must("admin", service+"Create", map[string]any{"cluster": sent})
	again, err := s.objects.Get(context.Background(), argocd.KindSecret, "argocd", all[0].GetName())
	if err != nil || again.GetResourceVersion() != all[0].GetResourceVersion() {
		t.Errorf("the same cluster was written again (%v)", err)
	}
	sent["name"] = "third"
	s.refused(connect.CodeInvalidArgument, "existing cluster spec is different; use upsert flag to force update", "admin", service+"Create", map[string]any{"cluster": sent})
	s.refused(connect.CodePermissionDenied, "permission denied", "reader", service+"Delete", map[string]any{"server": "https://far.example.org"})
	s.refused(connect.CodePermissionDenied, "permission denied", "admin", service+"Get", map[string]any{"server": "https://nowhere"})
	s.must("admin", service+"Delete", map[string]any{"server": "https://far.example.org"})
	s.refused(connect.CodeInvalidArgument, "not registered", "admin", service+"Delete", map[string]any{"name": "in-cluster"})
}

const hostKey = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

func TestCertificates(t *testing.T) {
	s := setup(t)
	const service = "certificate.CertificateService/"
	s.declare("{apiVersion: v1, kind: ConfigMap, metadata: {name: argocd-ssh-known-hosts-cm, namespace: argocd}, data: {ssh_known_hosts: \"# ours\\n[far.example.org]:22 ssh-rsa AAAA\\n\"}}")
	entry := map[string]any{"serverName": "github.com", "certType": "ssh", "certSubType": "ssh-ed25519", "certData": base64.StdEncoding.EncodeToString([]byte(hostKey))}
	got := s.must("admin", service+"CreateCertificate", map[string]any{"certificates": map[string]any{"items": []any{entry}}})
	if !strings.Contains(fmt.Sprint(got), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU") {
		t.Errorf("got %v", got)
	}
	o, err := s.objects.Get(context.Background(), argocd.KindConfigMap, "argocd", "argocd-ssh-known-hosts-cm")
	if err != nil || pick(o.Object, "data", "ssh_known_hosts") != "# ours\n[far.example.org]:22 ssh-rsa AAAA\ngithub.com ssh-ed25519 "+hostKey+"\n" {
		t.Errorf("got %v (%v)", o, err)
	}
	list := s.must("reader", service+"ListCertificates", map[string]any{"hostNamePattern": "*.com"})
	if items, _ := list["items"].([]any); len(items) != 1 {
		t.Errorf("got %v", list)
	}
	s.refused(connect.CodeInvalidArgument, "no valid PEM data received", "admin", service+"CreateCertificate", map[string]any{"certificates": map[string]any{"items": []any{map[string]any{"serverName": "x", "certType": "https", "certData": "eA=="}}}})
	s.refused(connect.CodeInvalidArgument, "cannot be read", "admin", service+"CreateCertificate", map[string]any{"certificates": map[string]any{"items": []any{map[string]any{"serverName": "x", "certType": "ssh", "certSubType": "ssh-rsa", "certData": "eA=="}}}})
	s.refused(connect.CodePermissionDenied, "certificates, delete", "reader", service+"DeleteCertificate", map[string]any{"hostNamePattern": "*"})
	s.must("admin", service+"DeleteCertificate", map[string]any{"hostNamePattern": "github.com"})
	list = s.must("reader", service+"ListCertificates", map[string]any{})
	if items, _ := list["items"].([]any); len(items) != 1 {
		t.Errorf("got %v", list)
	}
}

func TestKeys(t *testing.T) {
	s := setup(t)
	entity, err := openpgp.NewEntity("Ada", "", "ada@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const service = "gpgkey.GPGKeyService/"
	id := entity.PrimaryKey.KeyIdString()
	request := map[string]any{"publickey": map[string]any{"keyData": b.String()}}
	if got := s.must("admin", service+"Create", request); !strings.Contains(fmt.Sprint(got), id) {
		t.Errorf("got %v", got)
	}
	if got := s.must("admin", service+"Create", request); !reflect.DeepEqual(got["skipped"], []any{id}) {
		t.Errorf("got %v", got)
	}
	one := s.must("reader", service+"Get", map[string]any{"keyID": id})
	if one["owner"] != "Ada <ada@example.org>" || !strings.Contains(fmt.Sprint(one["keyData"]), "BEGIN PGP PUBLIC KEY") {
		t.Errorf("got %v", one)
	}
	s.refused(connect.CodeInvalidArgument, "cannot be read", "admin", service+"Create", map[string]any{"publickey": map[string]any{"keyData": "no key"}})
	s.refused(connect.CodeInvalidArgument, "not a valid GnuPG key ID", "admin", service+"Get", map[string]any{"keyID": "../x"})
	s.must("admin", service+"Delete", map[string]any{"keyID": id})
	s.refused(connect.CodeNotFound, "no such key configured", "admin", service+"Delete", map[string]any{"keyID": id})
}

func TestApplicationSets(t *testing.T) {
	s := setup(t, project, defaultProject)
	const service = "applicationset.ApplicationSetService/"
	set := map[string]any{"metadata": map[string]any{"name": "all"}, "spec": map[string]any{
		"generators": []any{map[string]any{"list": map[string]any{"elements": []any{map[string]any{"a": "1"}}}}},
		"template":   map[string]any{"metadata": map[string]any{"name": "{{a}}"}, "spec": map[string]any{"project": "shop", "destination": map[string]any{"name": "in-cluster"}}},
	}}
	s.world.generated = append(s.world.generated, manifest(t, other))
	if got := s.must("admin", service+"Create", map[string]any{"applicationset": set, "dryRun": true}); !strings.Contains(fmt.Sprint(pick(got, "status", "resources")), "name:other") {
		t.Errorf("got %v", got)
	}
	s.must("admin", service+"Create", map[string]any{"applicationset": set})
	s.must("admin", service+"Create", map[string]any{"applicationset": set})
	got := s.must("admin", service+"Get", map[string]any{"name": "all"})
	elements, _ := pick(got, "spec").(map[string]any)
	if !strings.Contains(fmt.Sprint(elements), "elements:[map[a:1]]") {
		t.Errorf("got %v", got)
	}
	if apps, _ := s.must("admin", service+"Generate", map[string]any{"applicationSet": set})["applications"].([]any); len(apps) != 1 {
		t.Errorf("got %v", apps)
	}
	pick(set, "spec", "template", "spec").(map[string]any)["project"] = "{{p}}" //nolint:forcetypeassert // it is as written above
	s.refused(connect.CodeInvalidArgument, "templated `project` fields", "admin", service+"Create", map[string]any{"applicationset": set})
	s.refused(connect.CodePermissionDenied, "applicationsets, delete, shop/all", "reader", service+"Delete", map[string]any{"name": "all"})
	if got := names(s.must("reader", service+"List", map[string]any{"projects": []any{"shop"}})); !reflect.DeepEqual(got, []string{"all"}) {
		t.Errorf("got %v", got)
	}
	s.must("admin", service+"Delete", map[string]any{"name": "all"})
}

// Who may make sets of one project makes Applications of no other: neither by the
// template of a generator nor by a patch of it.
func TestSetsStayInTheirProject(t *testing.T) {
	s := setup(t, project, defaultProject)
	const create = "applicationset.ApplicationSetService/Create"
	set := func(generator, more string) map[string]any {
		return map[string]any{"applicationset": manifest(t, `
kind: ApplicationSet
metadata: {name: all}
spec:
  generators: [`+generator+`]
  template:
    metadata: {name: '{{a}}'}
    spec: {project: shop, destination: {name: in-cluster}}
  `+more).Object}
	}
	const other = `{list: {elements: [{a: "1"}], template: {spec: {project: default}}}}`
	for _, refused := range []map[string]any{
		set(other, ""), set(`{matrix: {generators: [{clusters: {}}, `+other+`]}}`, ""), set(`{clusters: {}}`, "templatePatch: 'spec: {project: default}'"),
	} {
		s.refused(connect.CodePermissionDenied, "permission denied: applicationsets, create", "shopkeeper", create, refused)
	}
	s.refused(connect.CodeInvalidArgument, "templated `project` fields", "shopkeeper", create, set(`{list: {elements: [], template: {spec: {project: '{{p}}'}}}}`, ""))
	s.must("shopkeeper", create, set(`{list: {elements: [{template: {spec: {project: default}}}]}}`, "templatePatch: 'spec: {info: []}'"))
	s.must("admin", create, map[string]any{"applicationset": set(other, "")["applicationset"], "upsert": true})
}

// Addresses of repositories and proxies are shown without the credentials in them,
// and found as they are shown.
func TestAddressesHideCredentials(t *testing.T) {
	s := setup(t)
	const service = "repository.RepositoryService/"
	repo := map[string]any{"repo": "https://bot:" + canary + "@example.org/shop.git", "proxy": "http://bot:" + canary + "@proxy.example.org"}
	for _, call := range []string{"CreateRepository", "UpdateRepository"} {
		withoutCanary(t, call, s.must("admin", service+call, map[string]any{"repo": repo}))
		_, err := s.as("stranger", service+call, map[string]any{"repo": repo})
		withoutCanary(t, call, map[string]any{"refused": fmt.Sprint(err)})
	}
	got := s.must("admin", service+"ListRepositories", map[string]any{})
	withoutCanary(t, "List", got)
	if !strings.Contains(fmt.Sprint(got), "repo:https://example.org/shop.git") || !strings.Contains(fmt.Sprint(got), "proxy:http://proxy.example.org") {
		t.Errorf("got %v", got)
	}
	s.must("admin", service+"DeleteRepository", map[string]any{"repo": "https://example.org/shop.git"})
	const creds = "repocreds.RepoCredsService/"
	withoutCanary(t, "creds", s.must("admin", creds+"CreateRepositoryCredentials", map[string]any{"creds": map[string]any{"url": "https://bot:" + canary + "@example.org", "username": "bot"}}))
	withoutCanary(t, "creds", s.must("admin", creds+"ListRepositoryCredentials", map[string]any{}))
	s.must("admin", creds+"DeleteRepositoryCredentials", map[string]any{"url": "https://example.org"})
}

// The default project is there though nobody has declared it, and an Application
// that names none is in it: command lines look the project up by that name.
func TestImpliedProject(t *testing.T) {
	s := setup(t)
	const service = "project.ProjectService/"
	if got := names(s.must("reader", service+"List", map[string]any{})); !reflect.DeepEqual(got, []string{"default"}) {
		t.Errorf("got %v", got)
	}
	if got := names(s.must("shopkeeper", service+"List", map[string]any{})); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	for _, name := range []string{"", "default"} {
		got := s.must("reader", service+"Get", map[string]any{"name": name})
		detailed := s.must("reader", service+"GetDetailedProject", map[string]any{"name": name})
		if pick(got, "metadata", "name") != "default" || fmt.Sprint(pick(got, "spec", "sourceRepos")) != "[*]" || pick(detailed, "project", "metadata", "name") != "default" {
			t.Errorf("got %v and %v", got, detailed)
		}
		s.refused(connect.CodePermissionDenied, "projects, get, default", "shopkeeper", service+"Get", map[string]any{"name": name})
	}
	s.refused(connect.CodeNotFound, "", "reader", service+"Get", map[string]any{"name": "nowhere"})
	got := s.must("admin", service+"Get", map[string]any{"name": "default"})
	got["spec"].(map[string]any)["description"] = "declared now" //nolint:forcetypeassert // it has one
	s.must("admin", service+"Update", map[string]any{"project": got})
	if got := s.must("admin", service+"Get", map[string]any{"name": "default"}); pick(got, "spec", "description") != "declared now" {
		t.Errorf("got %v", got)
	}
}
