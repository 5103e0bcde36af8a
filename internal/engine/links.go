package engine

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// linkPrefix begins the annotations that name where people reach an object
// (Argo CD, "Add external URL").
const linkPrefix = "link.argocd.argoproj.io/"

// linksOf lists where people reach a live object: what its annotations say, the
// hosts of an Ingress, the addresses of a Service of type LoadBalancer.
func linksOf(o *unstructured.Unstructured) []string {
	var links []string
	for name, value := range o.GetAnnotations() {
		if strings.HasPrefix(name, linkPrefix) {
			if i := strings.LastIndex(value, "|"); i >= 0 {
				value = value[i+1:]
			}
			links = append(links, value)
		}
	}
	gk := o.GroupVersionKind().GroupKind()
	switch {
	case gk.Kind == "Ingress" && (gk.Group == "networking.k8s.io" || gk.Group == "extensions"):
		links = append(links, ingressLinks(o)...)
	case gk.Kind == "Service" && gk.Group == "":
		links = append(links, serviceLinks(o)...)
	}
	links = slices.DeleteFunc(links, func(link string) bool { return !safeLink(link) })
	slices.Sort(links)
	return slices.Compact(links)
}

// safeLink keeps what a console may show as a link.
func safeLink(link string) bool {
	u, err := url.Parse(link)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func ingressLinks(o *unstructured.Unstructured) []string {
	secure := map[string]bool{}
	tls, _, _ := unstructured.NestedSlice(o.Object, "spec", "tls")
	for _, t := range tls {
		entry, _ := t.(map[string]any)
		hosts, _, _ := unstructured.NestedStringSlice(entry, "hosts")
		for _, host := range hosts {
			secure[host] = true
		}
		secure[""] = secure[""] || len(hosts) == 0
	}
	balancers := addresses(o)
	var links []string
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		host, _, _ := unstructured.NestedString(rule, "host")
		hosts := []string{host}
		if host == "" {
			hosts = balancers
		}
		scheme := "http"
		if secure[host] || secure[""] {
			scheme = "https"
		}
		paths, _, _ := unstructured.NestedSlice(rule, "http", "paths")
		if len(paths) == 0 {
			paths = []any{map[string]any{}}
		}
		for _, p := range paths {
			entry, _ := p.(map[string]any)
			path, _, _ := unstructured.NestedString(entry, "path")
			path = strings.TrimSuffix(strings.TrimSuffix(path, "*"), "/")
			for _, h := range hosts {
				links = append(links, fmt.Sprintf("%s://%s%s", scheme, h, path))
			}
		}
	}
	return links
}

// addresses are those that a load balancer has given.
func addresses(o *unstructured.Unstructured) []string {
	var out []string
	given, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
	for _, g := range given {
		entry, _ := g.(map[string]any)
		if host, _, _ := unstructured.NestedString(entry, "hostname"); host != "" {
			out = append(out, host)
		} else if ip, _, _ := unstructured.NestedString(entry, "ip"); ip != "" {
			out = append(out, ip)
		}
	}
	return out
}

func serviceLinks(o *unstructured.Unstructured) []string {
	if kind, _, _ := unstructured.NestedString(o.Object, "spec", "type"); kind != "LoadBalancer" {
		return nil
	}
	var links []string
	ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
	for _, host := range addresses(o) {
		for _, p := range ports {
			entry, _ := p.(map[string]any)
			switch port, _, _ := unstructured.NestedInt64(entry, "port"); port {
			case 80:
				links = append(links, "http://"+host)
			case 443:
				links = append(links, "https://"+host)
			}
		}
	}
	return links
}
