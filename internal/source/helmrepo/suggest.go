package helmrepo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// maxSuggested is how many names or versions a message proposes.
const maxSuggested = 3

// suggestName says which charts may have been meant.
func (x *index) suggestName(name string) string {
	if len(x.charts) == 0 {
		return "the index holds no chart at all: check the address of the repository"
	}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for other := range x.charts {
		d := distance(strings.ToLower(name), strings.ToLower(other))
		within := strings.Contains(other, name) || strings.Contains(name, other)
		switch {
		case d <= 1+len(name)/4:
			near = append(near, candidate{other, d})
		case within:
			near = append(near, candidate{other, len(name) + d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	if len(near) == 0 {
		return fmt.Sprintf("check the name of the chart and the address of the repository, whose index holds %s", plural(len(x.charts), "other chart"))
	}
	var names []string
	for _, c := range near[:min(len(near), maxSuggested)] {
		names = append(names, fmt.Sprintf("%q", c.name))
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// maxCompared bounds the length of names that are compared, in bytes.
const maxCompared = 64

// distance counts the letters to change, insert, leave out or swap with the
// next to make b of a; of long names it compares the beginning.
func distance(a, b string) int {
	a, b = a[:min(len(a), maxCompared)], b[:min(len(b), maxCompared)]
	var before, last, row [maxCompared + 1]int
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// suggestVersion says which versions there are near the one that is missing.
// The releases are sorted, the highest first, and there is at least one.
func suggestVersion(releases []release, wanted string) string {
	newest := releases[0].version
	if stable := firstStable(releases); stable == "" {
		return fmt.Sprintf("there are pre-releases only, the newest is %s: a range admits them when it ends in \"-0\", such as \">=0-0\"", newest)
	} else if other, err := semver.NewVersion(firstNumber(wanted)); err == nil {
		if near := nearest(releases, other); len(near) > 0 {
			return fmt.Sprintf("near it are %s; the newest is %s", strings.Join(near, ", "), stable)
		}
		return "the newest is " + stable
	}
	return "the newest is " + firstStable(releases)
}

func firstStable(releases []release) string {
	for i := range releases {
		if v, err := semver.NewVersion(releases[i].version); err == nil && v.Prerelease() == "" {
			return releases[i].version
		}
	}
	return ""
}

// firstNumber is the first thing in a range that may be a version.
func firstNumber(wanted string) string {
	from := strings.IndexAny(wanted, "0123456789")
	if from < 0 {
		return ""
	}
	rest := wanted[from:]
	if end := strings.IndexAny(rest, " ,|<>=!~^*xX"); end >= 0 {
		rest = rest[:end]
	}
	return strings.TrimSuffix(rest, ".")
}

// nearest lists versions of the same minor, or else the same major version: the
// last below the wanted one and those that follow it, in rising order.
func nearest(releases []release, wanted *semver.Version) []string {
	for _, same := range []func(v *semver.Version) bool{
		func(v *semver.Version) bool { return v.Major() == wanted.Major() && v.Minor() == wanted.Minor() },
		func(v *semver.Version) bool { return v.Major() == wanted.Major() },
	} {
		var family []string // rising
		below := 0
		for _, r := range slices.Backward(releases) {
			v, err := semver.NewVersion(r.version)
			if err != nil || !same(v) {
				continue
			}
			if v.LessThan(wanted) {
				below++
			}
			family = append(family, r.version)
		}
		if len(family) > 0 {
			from := max(0, min(below-1, len(family)-maxSuggested))
			return family[from:min(len(family), from+maxSuggested)]
		}
	}
	return nil
}
