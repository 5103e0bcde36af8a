package argocd

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/crypto/ssh"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/policy"
)

// tlsConfigMap holds CAs by the name of the server (argocd-tls-certs-cm).
const tlsConfigMap = "argocd-tls-certs-cm"

// knownHostsKey is the key of the known hosts in their ConfigMap.
const knownHostsKey = "ssh_known_hosts"

// configMap reads a ConfigMap, or makes one that is not there yet.
func (s *server) configMap(ctx context.Context, name string) (o *unstructured.Unstructured, there bool, err error) {
	o, err = s.Objects.Get(ctx, KindConfigMap, s.Namespace, name)
	if apierrors.IsNotFound(err) {
		return declaredFrom(KindConfigMap, map[string]any{"metadata": map[string]any{
			"namespace": s.Namespace, "name": name, "labels": map[string]any{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd"},
		}}), false, nil
	}
	return o, err == nil, err
}

// editConfigMap changes the data of a ConfigMap. change may be called again with
// what somebody else has written.
func (s *server) editConfigMap(ctx context.Context, name string, change func(data map[string]string) error) error {
	for range conflicts {
		o, there, err := s.configMap(ctx, name)
		if err != nil {
			return err
		}
		data := map[string]string{}
		for k, v := range object(o.Object, "data") {
			data[k], _ = v.(string)
		}
		if err := change(data); err != nil {
			return err
		}
		o.Object["data"] = anyMap(data)
		if there {
			_, err = s.Objects.Update(ctx, KindConfigMap, o)
		} else {
			_, err = s.Objects.Create(ctx, KindConfigMap, o)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return failed(connect.CodeAborted, "%s changes all the time: try again", name)
}

// knownHost is a line of the known hosts.
type knownHost struct{ host, kind, key string }

func (k knownHost) line() string { return k.host + " " + k.kind + " " + k.key }

// knownHostsOf reads the lines that have a host, a kind and a key. Others stay
// where they are.
func knownHostsOf(content string) []knownHost {
	var out []knownHost
	for _, line := range strings.Split(content, "\n") {
		if f := strings.Fields(line); len(f) >= 3 && !strings.HasPrefix(f[0], "#") && !strings.HasPrefix(f[0], "@") {
			out = append(out, knownHost{f[0], f[1], f[2]})
		}
	}
	return out
}

// withKnownHosts writes known hosts; lines that are none of them are kept.
func withKnownHosts(content string, hosts []knownHost) string {
	var lines []string
	for _, line := range strings.Split(strings.TrimRight(content, "\n"), "\n") {
		if f := strings.Fields(line); len(f) < 3 || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], "@") {
			lines = append(lines, line)
		}
	}
	for _, h := range hosts {
		lines = append(lines, h.line())
	}
	return strings.TrimLeft(strings.Join(lines, "\n"), "\n") + "\n"
}

func (k knownHost) told() map[string]any {
	out := map[string]any{"serverName": k.host, "certType": "ssh", "certSubType": k.kind, "certData": base64.StdEncoding.EncodeToString([]byte(k.key)), "certInfo": ""}
	if raw, err := base64.StdEncoding.DecodeString(k.key); err == nil {
		if key, err := ssh.ParsePublicKey(raw); err == nil {
			out["certInfo"] = ssh.FingerprintSHA256(key)
		}
	}
	return out
}

// certificatesOf are the certificates of a server.
func certificatesOf(server, content string) []map[string]any {
	var out []map[string]any
	rest := []byte(content)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		out = append(out, map[string]any{
			"serverName": server, "certType": "https", "certSubType": strings.ToLower(cert.PublicKeyAlgorithm.String()), "certInfo": cert.Subject.String(),
			"certData": base64.StdEncoding.EncodeToString(bytes.TrimSpace(pem.EncodeToMemory(block))),
		})
	}
}

// certificateQuery is what a list or a removal is about.
type certificateQuery struct{ host, kind, subKind string }

func certificateQueryOf(c *call) certificateQuery {
	return certificateQuery{text(c.value, "hostNamePattern"), text(c.value, "certType"), text(c.value, "certSubType")}
}

func (q certificateQuery) means(kinds ...string) bool {
	return q.kind == "" || q.kind == "*" || slices.Contains(kinds, q.kind)
}

func (q certificateQuery) matches(host, subKind string) bool {
	if q.subKind != "" && q.subKind != "*" && subKind != "" && q.subKind != subKind {
		return false
	}
	if q.host == "" || q.host == host {
		return true
	}
	ok, err := path.Match(q.host, host)
	return err == nil && ok
}

func (s *server) listCertificates(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.Certificates, policy.Get, ""); err != nil {
		return nil, err
	}
	q, out := certificateQueryOf(c), []any{}
	if q.means("ssh") {
		o, _, err := s.configMap(ctx, repository.KnownHosts)
		if err != nil {
			return nil, err
		}
		for _, h := range knownHostsOf(text(o.Object, "data", knownHostsKey)) {
			if q.matches(h.host, h.kind) {
				one := h.told()
				delete(one, "certData")
				out = append(out, one)
			}
		}
	}
	if q.means("https", "tls") {
		o, _, err := s.configMap(ctx, tlsConfigMap)
		if err != nil {
			return nil, err
		}
		for server := range object(o.Object, "data") {
			if !q.matches(server, "") {
				continue
			}
			for _, one := range certificatesOf(server, text(o.Object, "data", server)) {
				delete(one, "certData")
				out = append(out, one)
			}
		}
	}
	sortByText(out, "certType", "serverName", "certSubType")
	return map[string]any{"items": out}, nil
}

func (s *server) createCertificates(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.Certificates, policy.Create, ""); err != nil {
		return nil, err
	}
	upsert, out := flag(c.value, "upsert"), []any{}
	var hosts []knownHost
	servers := map[string]string{}
	for _, sent := range objects(c.value, "certificates", "items") {
		name := text(sent, "serverName")
		data, err := base64.StdEncoding.DecodeString(text(sent, "certData"))
		if err != nil || name == "" || strings.ContainsAny(name, " \t\r\n") {
			return nil, failed(connect.CodeInvalidArgument, "invalid hostname in request: %s", name)
		}
		switch text(sent, "certType") {
		case "ssh":
			h := knownHost{name, text(sent, "certSubType"), strings.TrimSpace(string(data))}
			if _, _, _, _, _, err := ssh.ParseKnownHosts([]byte(h.line())); err != nil || strings.ContainsAny(h.line(), "\r\n") {
				return nil, failed(connect.CodeInvalidArgument, "the key of %s cannot be read", name)
			}
			hosts = append(hosts, h)
		case "https":
			if len(certificatesOf(name, string(data))) == 0 {
				return nil, failed(connect.CodeInvalidArgument, "no valid PEM data received")
			}
			servers[name] = string(data)
		default:
			return nil, failed(connect.CodeInvalidArgument, "unknown certificate type: %s", text(sent, "certType"))
		}
	}
	if len(hosts) > 0 {
		added, err := s.addKnownHosts(ctx, hosts, upsert)
		if err != nil {
			return nil, err
		}
		out = append(out, added...)
	}
	if len(servers) > 0 {
		added, err := s.addServers(ctx, servers, upsert)
		if err != nil {
			return nil, err
		}
		out = append(out, added...)
	}
	return map[string]any{"items": out}, nil
}

func (s *server) addKnownHosts(ctx context.Context, hosts []knownHost, upsert bool) (added []any, err error) {
	err = s.editConfigMap(ctx, repository.KnownHosts, func(data map[string]string) error {
		added = nil
		known := knownHostsOf(data[knownHostsKey])
		for _, h := range hosts {
			i := slices.IndexFunc(known, func(k knownHost) bool { return k.host == h.host && k.kind == h.kind })
			switch {
			case i < 0:
				known = append(known, h)
			case known[i].key == h.key:
				continue
			case !upsert:
				return failed(connect.CodeInvalidArgument, "key for '%s' (subtype: '%s') already exists, and upsert was not specified", h.host, h.kind)
			default:
				known[i] = h
			}
			added = append(added, h.told())
		}
		data[knownHostsKey] = withKnownHosts(data[knownHostsKey], known)
		return nil
	})
	return added, err
}

func (s *server) addServers(ctx context.Context, servers map[string]string, upsert bool) (added []any, err error) {
	err = s.editConfigMap(ctx, tlsConfigMap, func(data map[string]string) error {
		added = nil
		for name, content := range servers {
			if was, there := data[name]; there && was == content {
				continue
			} else if there && !upsert {
				return failed(connect.CodeInvalidArgument, "TLS certificate for server '%s' already exists, and upsert was not specified", name)
			}
			data[name] = content
			for _, one := range certificatesOf(name, content) {
				added = append(added, one)
			}
		}
		return nil
	})
	return added, err
}

func (s *server) deleteCertificates(ctx context.Context, c *call) (map[string]any, error) {
	if err := s.must(ctx, c, policy.Certificates, policy.Delete, ""); err != nil {
		return nil, err
	}
	q, out := certificateQueryOf(c), []any{}
	if q.host == "" && q.kind == "" && q.subKind == "" {
		return nil, failed(connect.CodeInvalidArgument, "name a host, a type or a subtype of what is to be removed")
	}
	if q.means("ssh") {
		err := s.editConfigMap(ctx, repository.KnownHosts, func(data map[string]string) error {
			out = []any{}
			var keep []knownHost
			for _, h := range knownHostsOf(data[knownHostsKey]) {
				if q.matches(h.host, h.kind) {
					out = append(out, h.told())
				} else {
					keep = append(keep, h)
				}
			}
			if len(out) > 0 {
				data[knownHostsKey] = withKnownHosts(data[knownHostsKey], keep)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("remove known hosts: %w", err)
		}
	}
	if q.means("https", "tls") && (q.subKind == "" || q.subKind == "*") {
		var removed []any
		err := s.editConfigMap(ctx, tlsConfigMap, func(data map[string]string) error {
			removed = nil
			for name, content := range data {
				if q.matches(name, "") {
					for _, one := range certificatesOf(name, content) {
						removed = append(removed, one)
					}
					delete(data, name)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("remove certificates: %w", err)
		}
		out = append(out, removed...)
	}
	return map[string]any{"items": out}, nil
}
