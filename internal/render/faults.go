package render

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// The reasons of faults, in the words of github.com/fluxcd/pkg/apis/meta.
const (
	// BuildFailed: the directory, as it stands, cannot be built.
	BuildFailed = "BuildFailed"
	// ArtifactFailed: the source could not be read, or has no such directory.
	ArtifactFailed = "ArtifactFailed"
	// ReconciliationFailed: the objects were built but cannot be applied as
	// they are, which is what upstream says of a Secret that is encrypted.
	ReconciliationFailed = "ReconciliationFailed"
)

// fault is about a field of the declaring object, or about the build as such.
func (b *build) fault(where, message, advice string) *model.Fault {
	origin := b.origin
	if where != "" {
		origin.Field = where
	}
	return &model.Fault{Reason: BuildFailed, Message: message, Advice: advice, Origin: origin}
}

// faultAt is about a line of a file of the tree.
func (b *build) faultAt(file string, line int, message, advice string) *model.Fault {
	origin := b.origin
	origin.File, origin.Line = file, line
	return &model.Fault{Reason: BuildFailed, Message: message, Advice: advice, Origin: origin}
}

// pathFault is about the directory that is built; what is said of it, by
// upstream of Argo CD in other words (argo-cd util/app/path).
func (b *build) pathFault(dir, what string) *model.Fault {
	if b.argo {
		words := map[string]string{"does not exist": "app path does not exist", "leads out of the source": "app path outside root", "is no directory": "app path is not a directory"}
		if dir == "" {
			dir = "."
		}
		return b.fault(b.origin.Field+".path", dir+": "+words[what], "correct the path, or commit the directory")
	}
	fault := b.fault("spec.path", fmt.Sprintf("kustomization path not found: %s %s", dir, what), "correct the path, or commit the directory")
	fault.Reason = ArtifactFailed
	return fault
}

// unavailable is about a tree that does not answer, or a build that was ended.
func (b *build) unavailable(err error) *model.Fault {
	message := "the source could not be read: " + err.Error()
	var asked *liveError
	switch {
	case errors.As(err, &asked):
		message = "the target could not be asked: " + err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		message = "the build did not end in time"
	case errors.Is(err, context.Canceled):
		message = "the build was cancelled"
	}
	return &model.Fault{Reason: ArtifactFailed, Message: message, Origin: b.origin, Retry: true, Err: err}
}

// readFault is about a file that cannot be read.
func (b *build) readFault(at string, err error) error {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return err
	}
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return b.faultAt(limit.Path, 0, limit.Message, "")
	case errors.Is(err, errOutside):
		return b.faultAt(at, 0, at+" leads out of the source", "a build may read its own source only: copy what it needs into it")
	}
	return b.faultAt(at, 0, at+" cannot be read: "+err.Error(), "")
}

func (s *survey) remoteFault(l layer, p string) error {
	what, advice := "base", "commit a copy of it, or include it with a source of its own"
	if remoteFile(p) && !slices.Contains(slices.Concat(l.k.Resources, l.k.Components), p) {
		what, advice = "file", "commit a copy of it"
	}
	if !s.opts.RemoteBases {
		advice += "; or let it be fetched as a source is: --remote-bases"
	}
	fault := s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names the remote %s %s: builds do not fetch anything", l.name(), what, withoutCredentials(p)), advice)
	fault.Err = &RemoteError{Address: withoutCredentials(p)}
	return fault
}

func (s *survey) outsideFault(l layer, p string) error {
	return s.faultAt(l.file, l.lineOf(p), fmt.Sprintf("%s names %s, which leads out of the source", l.name(), p), "a build may read its own source only: copy what it needs into it")
}

// boundYAML refuses YAML whose aliases grow beyond the limit, before anything
// expands them. What cannot be parsed is left to kustomize.
func (b *build) boundYAML(file string, text []byte) error {
	if !strings.Contains(string(text), "*") || !strings.Contains(string(text), "&") {
		return nil
	}
	total := 0
	docs, _ := documents(text)
	for _, doc := range docs {
		if total += expanded(doc.node, b.limits.Nodes); total > b.limits.Nodes {
			return b.faultAt(file, doc.line, fmt.Sprintf("the YAML aliases of %s expand to more than %d values", file, b.limits.Nodes), "write out what they stand for")
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlFault is about a kustomization that cannot be parsed.
func (b *build) yamlFault(file string, text []byte, err error) error {
	if _, positioned := object.Decode(text, file, object.Limits{}); positioned != nil {
		var at *object.DecodeError
		if errors.As(positioned, &at) && strings.Contains(at.Message, "YAML") {
			return b.faultAt(file, at.Line, at.Message, "")
		}
	}
	message, line := firstLine(err.Error()), 0
	if found := yamlLine.FindStringSubmatch(message); found != nil {
		line, _ = strconv.Atoi(found[1])
	}
	if name := unknownField.FindStringSubmatch(message); name != nil {
		line = layer{text: text}.lineOf(name[1] + ":")
	}
	return b.faultAt(file, line, message, "")
}

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

func (b *build) duplicateFault(id object.ID, first, second model.Origin) error {
	message := fmt.Sprintf("%s is asked for twice", id)
	if second.File != "" && first.File != "" && (first.File != second.File || first.Line != second.Line) {
		message += fmt.Sprintf(": in %s and in %s", first, second)
	}
	fault := b.faultAt(second.File, second.Line, message, "remove one of them, or give them different names")
	fault.Object = id
	return fault
}

func (b *build) nameless(id object.ID, at model.Origin) error {
	lacks := "apiVersion"
	switch {
	case id.Kind == "":
		lacks = "kind"
	case id.Name == "":
		lacks = "metadata.name"
	}
	what := "an object"
	if id.Kind != "" {
		what = "an object of kind " + id.Kind
	}
	return b.faultAt(at.File, at.Line, fmt.Sprintf("%s has no %s", what, lacks), "every object that is delivered needs apiVersion, kind and metadata.name")
}

// howToDecrypt is what to do about what is encrypted and would otherwise be
// applied, or read, as it is.
const howToDecrypt = "name the Secret of its keys: in spec.decryption of a Kustomization, in the annotation plumb.dev/decryption of an Application"

// encrypted refuses an object that nobody decrypts, in upstream's words
// (fluxcd/kustomize-controller, kustomization_controller.go).
func (c *collector) encrypted(id object.ID, at model.Origin) error {
	fault := c.faultAt(at.File, at.Line, fmt.Sprintf("%s is SOPS encrypted, configuring decryption is required for this secret to be reconciled", id), howToDecrypt)
	fault.Reason, fault.Object = ReconciliationFailed, id
	return fault
}

// explain turns an error of kustomize into a fault that says where it comes
// from, without content of the files.
func (s *survey) explain(err error) error {
	var fault *model.Fault
	if errors.As(err, &fault) {
		return fault
	}
	if types.IsErrOnlyBuiltinPluginsAllowed(err) {
		return s.fault("", "plugins that run programs or containers are not supported", "use the transformers and generators that are built into kustomize, or commit the plugin's output")
	}
	for _, find := range []func(string) error{s.malformed, s.incomplete, s.twice} {
		if found := find(err.Error()); found != nil {
			return found
		}
	}
	return s.faultAt(s.rootFile, 0, "kustomize build failed: "+s.harmless(err.Error()), "")
}

// malformed finds the file that kustomize could not parse.
func (s *survey) malformed(message string) error {
	for _, file := range s.files {
		if !strings.Contains(message, file[strings.LastIndexByte(file, '/')+1:]) {
			continue
		}
		text, err := s.recorder.Read(file)
		if err != nil {
			continue
		}
		var at *object.DecodeError
		if _, err := object.Decode(text, file, object.Limits{}); errors.As(err, &at) {
			return s.faultAt(file, at.Line, at.Message, "")
		}
	}
	return nil
}

// incomplete finds an object without kind or name.
func (s *survey) incomplete(message string) error {
	if !strings.Contains(message, "missing") && !strings.Contains(message, "Object 'Kind'") && !strings.Contains(message, "name") {
		return nil
	}
	for _, one := range s.asked {
		if one.kind == "" || one.bare == "" && !strings.HasSuffix(one.kind, "List") {
			id := object.ID{Kind: one.kind, Name: one.bare}
			return s.nameless(id, s.originOf(&one))
		}
	}
	return nil
}

// twice finds the two places of an object that kustomize met twice.
func (s *survey) twice(message string) error {
	if !strings.Contains(message, "already registered id") && !strings.Contains(message, "ID conflict") {
		return nil
	}
	first := map[object.ID]*asked{}
	for i := range s.asked {
		one := &s.asked[i]
		id := object.ID{Group: one.group, Kind: one.kind, Namespace: one.namespace, Name: one.name}
		if before, ok := first[id]; ok {
			return s.duplicateFault(id, s.originOf(before), s.originOf(one))
		}
		first[id] = one
	}
	return nil
}

// harmless cuts everything out of an error of kustomize that may quote files:
// what follows the first line, stands between backquotes, looks like a patch
// or an object, or is an inline patch or a literal of the build.
func (s *survey) harmless(message string) string {
	message = strings.ReplaceAll(message, mount+"/", "")
	message = strings.ReplaceAll(message, mount, ".")
	for _, text := range s.inline {
		message = strings.ReplaceAll(message, text, elided)
	}
	message = firstLine(message)
	message = quoted.ReplaceAllString(message, elided)
	message = lineOfEnvFile.ReplaceAllString(message, "$1 a line cannot be read as key=value")
	const most = 1000
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	return message
}

// elided stands for what a message must not show.
const elided = "(…)"

var (
	// quoted finds what errors of kustomize quote of files and patches: config
	// between backquotes, patches and objects between brackets or braces.
	quoted        = regexp.MustCompile("`[^`]*`?|\\[\\{.*\\]?|\\{\"?[^{}]*:.*\\}?|map\\[.*\\]?")
	lineOfEnvFile = regexp.MustCompile(`(env source files: \[[^\]]*\]:).*`)
)

func firstLine(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	return strings.TrimRight(line, " :")
}
