package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table prints the figures as Markdown: a row for each measure, a column for
// each number of applications.
func table(w io.Writer, s settings, columns []figures, busy string) error {
	var out strings.Builder
	fmt.Fprintf(&out, "Measured on %d cores (%s/%s, %s, load before the run %s) with `go run ./bench -dialect %s -n %s`: %s at rest with interval %s",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), busy, s.idiom, sizes(s.sizes), s.rest, s.interval)
	if !s.brief {
		fmt.Fprintf(&out, ", %d commits to one application, %d hand edits", s.commits, s.drifts)
	}
	if s.flux != "" {
		fmt.Fprintf(&out, "; flags of Flux's controllers: %q", s.fluxFlags)
	}
	out.WriteString(".\n\n")
	every := func(what string, cell func(figures) string) {
		fmt.Fprintf(&out, "| %s |", what)
		for _, f := range columns {
			fmt.Fprintf(&out, " %s |", cell(f))
		}
		out.WriteString("\n")
	}
	row := func(what string, cell func(figures) string) { // of what was not measured of every engine
		if !slices.ContainsFunc(columns, func(f figures) bool { return !f.partly }) {
			return
		}
		every(what, func(f figures) string {
			if f.partly {
				return "–"
			}
			return cell(f)
		})
	}
	every("applications", func(f figures) string { return fmt.Sprintf("%d, %s", f.n, f.engine) })
	out.WriteString("|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	every("raw: the same writes without an engine, 32 writers, median of 3", func(f figures) string { return seconds(f.raw) })
	every("created → all Ready", func(f figures) string { return seconds(f.ready) })
	every("… as a multiple of raw", func(f figures) string { return fmt.Sprintf("%.2f", f.ready.Seconds()/f.raw.Seconds()) })
	every("… CPU of the engine", func(f figures) string { return seconds(f.readyCPU) })
	every("… API requests per application", func(f figures) string { return fmt.Sprintf("%.1f", f.readyCalls) })
	row("commit to one → object changed, statuses settled: p50 / p99", func(f figures) string { return percentiles(f.settled) })
	row("commit to one → object changed, statuses under way: p50 / p99", func(f figures) string { return percentiles(f.unsettled) })
	row("a commit to one costs all: CPU of the engine", func(f figures) string { return millis(f.otherCPU) })
	row("… status writes / other requests", func(f figures) string { return fmt.Sprintf("%.1f / %.1f", f.statuses, f.others) })
	row("commit to all → all objects changed", func(f figures) string { return seconds(f.all) })
	row("hand edit → healed: p50 / p99", func(f figures) string { return percentiles(f.healed) })
	every("at rest: CPU of the engine", func(f figures) string { return millis(f.restCPU) })
	every("… API requests", func(f figures) string { return counts(f.restCalls) })
	every("… anonymous memory", func(f figures) string { return fmt.Sprintf("%.0f MiB", f.restMemory) })
	row(fmt.Sprintf("a chain of %d dependsOn → all Ready", s.links), func(f figures) string { return seconds(f.chain) })
	row("restart → drift made meanwhile is healed", func(f figures) string { return seconds(f.restart) })
	row("… all that was written", func(f figures) string { return counts(f.writes) })
	if s.console {
		every(fmt.Sprintf("console: a page of %d rows with facets: p50 / p95", consolePage), func(f figures) string { return wider(f.lists) })
		every("… changed in the cluster → a viewer is told: p50 / p95", func(f figures) string { return wider(f.told) })
		every(fmt.Sprintf("… anonymous memory with %d viewers of the whole list", consoleViewers), func(f figures) string { return fmt.Sprintf("%.0f MiB", f.consolePeak) })
	}
	every("peak anonymous memory", func(f figures) string { return fmt.Sprintf("%.0f MiB", f.peak) })
	_, err := io.WriteString(w, out.String())
	return err
}

func sizes(list []int) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, fmt.Sprint(n))
	}
	return strings.Join(parts, ",")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func millis(d time.Duration) string {
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}

func percentiles(s sample) string { return millis(s.at(50)) + " / " + millis(s.at(99)) }

// wider is what the console's answers are judged by.
func wider(s sample) string { return millis(s.at(50)) + " / " + millis(s.at(95)) }

// counts lists requests, most first.
func counts(calls map[string]int) string {
	if len(calls) == 0 {
		return "none"
	}
	kinds := slices.SortedFunc(maps.Keys(calls), func(a, b string) int {
		if calls[a] != calls[b] {
			return calls[b] - calls[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", calls[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// isWrite reports whether a counted request could change something.
func isWrite(call string) bool {
	verb, _, _ := strings.Cut(call, " ")
	switch verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}
