package helmrepo

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// generated writes an index of the shape of a large public repository: every
// entry tells annotations, dependencies, descriptions, keywords, maintainers
// and sources, as "helm repo index" writes them.
func generated(t testing.TB, w io.Writer, charts, versions int) {
	t.Helper()
	out := bufio.NewWriter(w)
	r := rand.New(rand.NewPCG(1, 2))
	_, _ = out.WriteString("apiVersion: v1\nentries:\n")
	for c := range charts {
		name := fmt.Sprintf("chart-%d", c)
		_, _ = fmt.Fprintf(out, "  %s:\n", name)
		for v := range versions {
			version := fmt.Sprintf("%d.%d.%d", (versions-v)/100, (versions-v)/10%10, (versions-v)%10)
			if r.IntN(20) == 0 {
				version += "-rc.1"
			}
			_, _ = fmt.Fprintf(out, `  - annotations:
      category: Infrastructure
      images: |
        - name: %[1]s
          image: docker.io/bitnami/%[1]s:%[2]s-debian-12-r0
      licenses: Apache-2.0
    apiVersion: v2
    appVersion: %[2]s
    created: "2024-0%[3]d-1%[4]dT12:13:14.%[5]dZ"
    dependencies:
    - name: common
      repository: oci://registry-1.docker.io/bitnamicharts
      tags:
      - bitnami-common
      version: 2.x.x
    - condition: postgresql.enabled
      name: postgresql
      repository: https://charts.example.com/stable
      version: '>=1.2.3'
    description: 'Apache Airflow is a tool to express and execute workflows as directed
      acyclic graphs (DAGs): it includes utilities to schedule tasks, monitor task
      progress and handle task dependencies.'
    digest: %[6]x
    home: https://example.com/stacks/%[1]s
    icon: https://example.com/assets/stacks/%[1]s/img/%[1]s-stack-220x234.png
    keywords:
    - apache
    - workflow
    - dag
    maintainers:
    - name: Example, Inc. All Rights Reserved.
      url: https://github.com/example/charts
    name: %[1]s
    sources:
    - https://github.com/example/charts/tree/main/%[1]s
    urls:
    - https://charts.example.com/stable/%[1]s-%[2]s.tgz
    version: %[2]s
`, name, version, 1+r.IntN(9), r.IntN(10), 100_000_001+r.IntN(899_999_999), sha256.Sum256([]byte(name+version)))
		}
	}
	_, _ = out.WriteString("generated: \"2026-01-02T03:04:05.006Z\"\nserverInfo: {}\n")
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
}

func generatedText(t testing.TB, charts, versions int) string {
	t.Helper()
	var b strings.Builder
	generated(t, &b, charts, versions)
	return b.String()
}
