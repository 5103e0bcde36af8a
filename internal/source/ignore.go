package source

import (
	"crypto/sha256"
	"path"
	"strings"
)

// Default exclusions of source-controller (fluxcd/pkg sourceignore). The first
// group always applies; the second only where no pattern is given by spec.ignore
// or by any .sourceignore file of the tree.
const (
	ignoreFile    = ".sourceignore"
	versionExtras = ".git/,.gitignore,.gitmodules,.gitattributes"
	otherExtras   = "*.jpg,*.jpeg,*.gif,*.png,*.wmv,*.flv,*.tar.gz,*.zip," +
		".github/,.circleci/,.travis.yml,.gitlab-ci.yml,appveyor.yml,.drone.yml,cloudbuild.yaml,codeship-services.yml,codeship-steps.yml," +
		"**/.goreleaser.yml,**/.sops.yaml,**/.flux.yaml"
	maxIgnoreFile = 1 << 20
	maxPatterns   = 20_000 // in force at one path
)

// pattern is one line of a .sourceignore file, in the dialect of gitignore that
// source-controller understands (fluxcd/pkg sourceignore/gitignore): unlike
// Git's, a path below an excluded directory can be taken in again.
type pattern struct {
	domain  []string // directory of the file it stands in
	parts   []glob
	include bool // starts with "!"
	dirOnly bool // ends with "/"
	rooted  bool // holds a slash: compared with the whole path below the domain
}

func parsePattern(line string, domain []string) pattern {
	p := pattern{domain: domain}
	line, p.include = strings.CutPrefix(line, "!")
	if !strings.HasSuffix(line, `\ `) {
		line = strings.TrimRight(line, " ")
	}
	line, p.dirOnly = strings.CutSuffix(line, "/")
	p.rooted = strings.Contains(line, "/")
	for part := range strings.SplitSeq(line, "/") {
		p.parts = append(p.parts, newGlob(part))
	}
	return p
}

// glob is one element of a pattern. Nearly all are plain names or suffixes,
// which are compared without the matcher.
type glob struct {
	text   string
	suffix string // of "*.jpg": ".jpg"
	plain  bool
}

func newGlob(text string) glob {
	const special = `*?[\`
	g := glob{text: text, plain: !strings.ContainsAny(text, special)}
	if rest, ok := strings.CutPrefix(text, "*"); ok && !strings.ContainsAny(rest, special) {
		g.suffix = rest
	}
	return g
}

// match reports an error for a malformed pattern only.
func (g glob) match(name string) (bool, error) {
	switch {
	case g.plain:
		return name == g.text, nil
	case g.suffix != "":
		return strings.HasSuffix(name, g.suffix), nil
	}
	return path.Match(g.text, name)
}

// parsePatterns reads the lines of a file.
func parsePatterns(text string, domain []string) []pattern {
	var all []pattern
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		all = append(all, parsePattern(line, domain))
	}
	return all
}

// matches reports whether the pattern speaks about a path.
func (p *pattern) matches(elements []string, isDir bool) bool {
	if len(elements) <= len(p.domain) {
		return false
	}
	for i, e := range p.domain {
		if elements[i] != e {
			return false
		}
	}
	below := elements[len(p.domain):]
	if p.rooted {
		return p.matchPath(below, isDir)
	}
	return p.matchName(below, isDir)
}

// matchName looks for the name at any level: what is below a match matches too.
func (p *pattern) matchName(elements []string, isDir bool) bool {
	for i, name := range elements {
		if matched, err := p.parts[0].match(name); err != nil {
			return false
		} else if matched {
			return !p.dirOnly || isDir || i < len(elements)-1
		}
	}
	return false
}

// matchPath compares part by part; a path that goes on after the last part
// matches too. "**" stands for any number of directories.
func (p *pattern) matchPath(elements []string, isDir bool) bool {
	matched, anywhere := false, false
	for i, part := range p.parts {
		switch {
		case part.text == "":
			anywhere = false
			continue
		case part.text == "**":
			if i == len(p.parts)-1 {
				return p.final(matched, elements, isDir)
			}
			anywhere = true
			continue
		case strings.Contains(part.text, "**") || len(elements) == 0:
			return false
		}
		taken, ok := take(part, elements, anywhere)
		if !ok {
			return false
		}
		matched, elements, anywhere = taken > 0, elements[max(taken, -taken):], false
	}
	return p.final(matched, elements, isDir)
}

func (p *pattern) final(matched bool, rest []string, isDir bool) bool {
	return matched && (!p.dirOnly || isDir || len(rest) > 0)
}

// take says how many elements a part consumes: positive when it matched,
// negative when it was looked for everywhere in vain.
func take(part glob, elements []string, anywhere bool) (n int, ok bool) {
	if !anywhere {
		matched, err := part.match(elements[0])
		return 1, err == nil && matched
	}
	for i, e := range elements {
		matched, err := part.match(e)
		if err != nil {
			return 0, false
		}
		if matched {
			return i + 1, true
		}
	}
	return -len(elements), true
}

// rules are the patterns in force in one directory, the weakest first.
type rules struct {
	weak   []pattern // defaults, then .sourceignore files from the root down
	strong []pattern // spec.ignore
	key    [sha256.Size]byte
	closed bool // .sourceignore files add nothing
}

// everything leaves nothing out: ignoring is what Flux's declared sources do.
var everything = &rules{key: sha256.Sum256([]byte("everything")), closed: true}

// newRules makes the rules at the root. anyPattern says that the tree or the
// source gives patterns of its own, which switches the weaker defaults off.
func newRules(specIgnore *string, anyPattern bool) *rules {
	r := &rules{}
	defaults := versionExtras
	if !anyPattern {
		defaults += "," + otherExtras
	}
	for line := range strings.SplitSeq(defaults, ",") {
		r.weak = append(r.weak, parsePattern(line, nil))
	}
	text := "\x00"
	if specIgnore != nil {
		text = *specIgnore
		r.strong = parsePatterns(text, nil)
	}
	r.key = sha256.Sum256([]byte(defaults + "\n" + text))
	return r
}

// alone are the rules without those of .sourceignore files.
func (r *rules) alone() *rules {
	return &rules{weak: r.weak, strong: r.strong, closed: true, key: sha256.Sum256([]byte("alone\n" + string(r.key[:])))}
}

// with adds the patterns of a .sourceignore file.
func (r *rules) with(patterns []pattern, at, text string) *rules {
	weak := append(r.weak[:len(r.weak):len(r.weak)], patterns...)
	key := sha256.Sum256([]byte(string(r.key[:]) + at + "\x00" + text))
	return &rules{weak: weak, strong: r.strong, key: key}
}

// excludes reports whether a path is left out; the strongest pattern that
// speaks about it decides.
func (r *rules) excludes(elements []string, isDir bool) bool {
	for _, patterns := range [][]pattern{r.strong, r.weak} {
		for i := len(patterns) - 1; i >= 0; i-- {
			if patterns[i].matches(elements, isDir) {
				return !patterns[i].include
			}
		}
	}
	return false
}
