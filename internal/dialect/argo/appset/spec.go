package appset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/template"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// spec is the whole of an ApplicationSet's spec (applicationset_types.go).
// Generators and templates stay trees, since they are templated as such.
type spec struct {
	GoTemplate                   bool             `json:"goTemplate"`
	GoTemplateOptions            []string         `json:"goTemplateOptions"`
	Generators                   []map[string]any `json:"generators"`
	Template                     map[string]any   `json:"template"`
	TemplatePatch                *string          `json:"templatePatch"`
	SyncPolicy                   syncPolicy       `json:"syncPolicy"`
	Strategy                     *strategy        `json:"strategy"`
	PreservedFields              preserved        `json:"preservedFields"`
	IgnoreApplicationDifferences []ignoreRule     `json:"ignoreApplicationDifferences"`
	ApplyNestedSelectors         *bool            `json:"applyNestedSelectors"`
}

type syncPolicy struct {
	PreserveResourcesOnDeletion bool    `json:"preserveResourcesOnDeletion"`
	ApplicationsSync            *string `json:"applicationsSync"`
}

type preserved struct {
	Annotations []string `json:"annotations"`
	Labels      []string `json:"labels"`
}

type ignoreRule struct {
	Name              string   `json:"name"`
	JSONPointers      []string `json:"jsonPointers"`
	JQPathExpressions []string `json:"jqPathExpressions"`
}

type strategy struct {
	Type          string       `json:"type"`
	RollingSync   *rollingSync `json:"rollingSync"`
	DeletionOrder string       `json:"deletionOrder"`
}

type rollingSync struct {
	Steps []Step `json:"steps"`
}

// Step is one entry of spec.strategy.rollingSync.steps: the Applications whose
// labels match all expressions. Without MaxUpdate all of them move at once.
type Step struct {
	MatchExpressions []MatchExpression   `json:"matchExpressions"`
	MaxUpdate        *intstr.IntOrString `json:"maxUpdate"`
}

// MatchExpression compares one label; Operator is In or NotIn.
type MatchExpression struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
}

// rolling reports whether Applications move in steps: only when the type says
// so (progressivesync.IsRollingSyncStrategy).
func (s *spec) rolling() bool {
	return s.Strategy != nil && s.Strategy.Type == "RollingSync" && s.Strategy.RollingSync != nil
}

// reverseDeletion reports whether Applications go in the reverse order of
// steps (progressivesync.IsDeletionOrderReversed).
func (s *spec) reverseDeletion() bool {
	return s.rolling() && len(s.Strategy.RollingSync.Steps) > 0 && strings.EqualFold(s.Strategy.DeletionOrder, "Reverse")
}

// generatorKinds are the kinds of generators in the order in which upstream
// evaluates those of one entry.
var generatorKinds = []string{"list", "clusters", "git", "scmProvider", "clusterDecisionResource", "pullRequest", "matrix", "merge", "plugin"}

type listGenerator struct {
	Elements     []any  `json:"elements"`
	ElementsYaml string `json:"elementsYaml"`
}

type clusterGenerator struct {
	Selector metav1.LabelSelector `json:"selector"`
	Values   map[string]string    `json:"values"`
	FlatList bool                 `json:"flatList"`
}

type gitGenerator struct {
	RepoURL             string            `json:"repoURL"`
	Revision            string            `json:"revision"`
	Directories         []gitItem         `json:"directories"`
	Files               []gitItem         `json:"files"`
	RequeueAfterSeconds *int64            `json:"requeueAfterSeconds"`
	PathParamPrefix     string            `json:"pathParamPrefix"`
	Values              map[string]string `json:"values"`
}

type gitItem struct {
	Path    string `json:"path"`
	Exclude bool   `json:"exclude"`
}

type combination struct {
	Generators []map[string]any `json:"generators"`
	MergeKeys  []string         `json:"mergeKeys"`
}

type decisionGenerator struct {
	ConfigMapRef        string               `json:"configMapRef"`
	Name                string               `json:"name"`
	LabelSelector       metav1.LabelSelector `json:"labelSelector"`
	RequeueAfterSeconds *int64               `json:"requeueAfterSeconds"`
	Values              map[string]string    `json:"values"`
}

type pluginGenerator struct {
	ConfigMapRef struct {
		Name string `json:"name"`
	} `json:"configMapRef"`
	Input struct {
		Parameters map[string]any `json:"parameters"`
	} `json:"input"`
	RequeueAfterSeconds *int64            `json:"requeueAfterSeconds"`
	Values              map[string]string `json:"values"`
}

// secretRef names a key of a Secret in the namespace of the set.
type secretRef struct {
	SecretName string `json:"secretName"`
	Key        string `json:"key"`
}

type configMapRef struct {
	ConfigMapName string `json:"configMapName"`
	Key           string `json:"key"`
}

type basicAuth struct {
	Username    string     `json:"username"`
	PasswordRef *secretRef `json:"passwordRef"`
}

type bearerToken struct {
	TokenRef *secretRef `json:"tokenRef"`
}

// forgeFields are the fields of all providers of the two forge generators;
// each uses those that its part of the CRD has.
type forgeFields struct {
	API                   string        `json:"api"`
	Organization          string        `json:"organization"`
	Owner                 string        `json:"owner"`
	Group                 string        `json:"group"`
	Project               string        `json:"project"`
	TeamProject           string        `json:"teamProject"`
	Repo                  string        `json:"repo"`
	User                  string        `json:"user"`
	TokenRef              *secretRef    `json:"tokenRef"`
	AccessTokenRef        *secretRef    `json:"accessTokenRef"`
	AppPasswordRef        *secretRef    `json:"appPasswordRef"`
	AppSecretName         string        `json:"appSecretName"`
	BasicAuth             *basicAuth    `json:"basicAuth"`
	BearerToken           *bearerToken  `json:"bearerToken"`
	CARef                 *configMapRef `json:"caRef"`
	Insecure              bool          `json:"insecure"`
	AllBranches           bool          `json:"allBranches"`
	ExcludeArchivedRepos  bool          `json:"excludeArchivedRepos"`
	IncludeArchivedRepos  bool          `json:"includeArchivedRepos"`
	IncludeSubgroups      bool          `json:"includeSubgroups"`
	IncludeSharedProjects *bool         `json:"includeSharedProjects"`
	Topic                 string        `json:"topic"`
	Labels                []string      `json:"labels"`
	PullRequestState      string        `json:"pullRequestState"`
	Role                  string        `json:"role"`
	Region                string        `json:"region"`
	TagFilters            []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"tagFilters"`
}

type scmGenerator struct {
	Github          *forgeFields      `json:"github"`
	Gitlab          *forgeFields      `json:"gitlab"`
	Gitea           *forgeFields      `json:"gitea"`
	Bitbucket       *forgeFields      `json:"bitbucket"`
	BitbucketServer *forgeFields      `json:"bitbucketServer"`
	AzureDevOps     *forgeFields      `json:"azureDevOps"`
	AWSCodeCommit   *forgeFields      `json:"awsCodeCommit"`
	Filters         []scmFilter       `json:"filters"`
	CloneProtocol   string            `json:"cloneProtocol"`
	RequeueAfter    *int64            `json:"requeueAfterSeconds"`
	Values          map[string]string `json:"values"`
}

type scmFilter struct {
	RepositoryMatch string   `json:"repositoryMatch"`
	PathsExist      []string `json:"pathsExist"`
	PathsDoNotExist []string `json:"pathsDoNotExist"`
	LabelMatch      string   `json:"labelMatch"`
	BranchMatch     string   `json:"branchMatch"`
}

type pullRequestGenerator struct {
	Github                      *forgeFields        `json:"github"`
	Gitlab                      *forgeFields        `json:"gitlab"`
	Gitea                       *forgeFields        `json:"gitea"`
	Bitbucket                   *forgeFields        `json:"bitbucket"`
	BitbucketServer             *forgeFields        `json:"bitbucketServer"`
	AzureDevOps                 *forgeFields        `json:"azuredevops"`
	Filters                     []pullRequestFilter `json:"filters"`
	RequeueAfter                *int64              `json:"requeueAfterSeconds"`
	ContinueOnRepoNotFoundError bool                `json:"continueOnRepoNotFoundError"`
	Values                      map[string]string   `json:"values"`
}

type pullRequestFilter struct {
	BranchMatch       string `json:"branchMatch"`
	TargetBranchMatch string `json:"targetBranchMatch"`
	TitleMatch        string `json:"titleMatch"`
}

// parsed is a declared set that has been read.
type parsed struct {
	id   object.ID
	uid  string
	spec spec
	meta *unstructured.Unstructured
}

// maxFindings bounds what is said about one object.
const maxFindings = 50

// read reads a declared set. The fault, if any, names the field that cannot
// be acted on; fields that nobody knows are findings. What can be read is set
// even then.
func read(declared *unstructured.Unstructured) (*parsed, []model.Finding, error) {
	p := &parsed{id: object.Of(declared), uid: string(declared.GetUID()), meta: declared}
	value := declared.Object["spec"]
	if value == nil {
		value = map[string]any{}
	}
	kept, unknown, wrong := sections["set"].fit("spec", value)
	findings := p.unknownFields(unknown)
	err := decode(kept, &p.spec)
	if len(wrong) > 0 {
		return p, findings, p.invalid(wrong[0].path, "%s", wrong[0].message)
	}
	if err != nil {
		return p, findings, p.invalid("spec", "cannot be read: %v", err)
	}
	if path, why := refusedGenerator(unknown); path != "" {
		return p, findings, p.invalid(path, "%s", why)
	}
	findings = append(findings, p.remarks()...)
	return p, findings, p.validate()
}

func (p *parsed) unknownFields(paths []string) []model.Finding {
	var findings []model.Finding
	for i, path := range paths {
		if i == maxFindings {
			findings = append(findings, model.Finding{Severity: model.Warning, Reason: reasonUnknownField, Message: fmt.Sprintf("%d more fields are not acted on", len(paths)-i), Origin: originOf(p.id, "spec")})
			break
		}
		findings = append(findings, model.Finding{Severity: model.Warning, Reason: reasonUnknownField, Message: "no version of ApplicationSet that Plumb knows has this field: it is not acted on", Origin: originOf(p.id, path)})
	}
	return findings
}

// remarks are the findings on fields that work differently.
func (p *parsed) remarks() []model.Finding {
	var findings []model.Finding
	add := func(reason, field, message string) {
		findings = append(findings, model.Finding{Severity: model.Info, Reason: reason, Message: message, Origin: originOf(p.id, field)})
	}
	if p.spec.ApplyNestedSelectors != nil {
		add(reasonDeprecated, "spec.applyNestedSelectors", "selectors of nested generators always apply")
	}
	if p.spec.TemplatePatch != nil && !p.spec.GoTemplate {
		add(reasonDiffers, "spec.templatePatch", "without goTemplate only plain {{parameters}} are replaced in it")
	}
	if s := p.spec.Strategy; s != nil && s.RollingSync != nil && s.Type != "RollingSync" {
		add(reasonDiffers, "spec.strategy.rollingSync", "has no effect while spec.strategy.type is not RollingSync")
	}
	if s := p.spec.Strategy; s != nil && strings.EqualFold(s.DeletionOrder, "Reverse") && !p.spec.reverseDeletion() {
		add(reasonDiffers, "spec.strategy.deletionOrder", "Reverse has no effect without a RollingSync with steps")
	}
	return findings
}

// validate finds what cannot be acted on although it has the right types.
func (p *parsed) validate() error {
	s := &p.spec
	if len(s.Generators) == 0 {
		return p.invalid("spec.generators", "holds no generator")
	}
	if policy := s.SyncPolicy.ApplicationsSync; policy != nil && !slices.Contains(syncPolicies, *policy) {
		return p.invalid("spec.syncPolicy.applicationsSync", "%q is none of %s", reader.Clip(*policy, 60), strings.Join(syncPolicies, ", "))
	}
	for i, option := range s.GoTemplateOptions {
		if err := checkOption(option); err != nil {
			return p.invalid(fmt.Sprintf("spec.goTemplateOptions[%d]", i), "%v", err)
		}
	}
	if st := s.Strategy; st != nil {
		if !slices.Contains([]string{"", "AllAtOnce", "RollingSync"}, st.Type) {
			return p.invalid("spec.strategy.type", "%q is neither AllAtOnce nor RollingSync", reader.Clip(st.Type, 60))
		}
		if st.Type == "RollingSync" && (st.RollingSync == nil || len(st.RollingSync.Steps) == 0) {
			return &model.Fault{Reason: reasonRolloutError, Message: "No steps defined for rollout", Advice: "add spec.strategy.rollingSync.steps", Origin: originOf(p.id, "spec.strategy.rollingSync.steps")}
		}
		if !slices.ContainsFunc([]string{"", "AllAtOnce", "Reverse"}, func(o string) bool { return strings.EqualFold(o, st.DeletionOrder) }) {
			return p.invalid("spec.strategy.deletionOrder", "%q is neither AllAtOnce nor Reverse", reader.Clip(st.DeletionOrder, 60))
		}
	}
	for i, generator := range s.Generators {
		if err := p.validateGenerator(fmt.Sprintf("spec.generators[%d]", i), generator, 0); err != nil {
			return err
		}
	}
	return nil
}

// maxNesting is how deep matrix and merge generators may stand in each other.
const maxNesting = 2

func (p *parsed) validateGenerator(path string, generator map[string]any, depth int) error {
	kinds := kindsOf(generator)
	if len(kinds) == 0 {
		return p.invalid(path, "holds no generator that Argo CD knows (%s)", strings.Join(generatorKinds, ", "))
	}
	if depth > 0 && len(kinds) > 1 {
		return p.invalid(path, "holds more than one generator (%s): each needs its own entry", strings.Join(kinds, ", "))
	}
	if _, err := selectorOf(generator); err != nil {
		return p.invalid(path+".selector", "%v", err)
	}
	for _, kind := range kinds {
		at := path + "." + kind
		if kind != "matrix" && kind != "merge" {
			continue
		}
		if depth == maxNesting {
			return p.invalid(at, "matrix and merge generators can stand in each other only once")
		}
		var c combination
		if err := decode(generator[kind], &c); err != nil {
			return p.invalid(at, "cannot be read: %v", err)
		}
		switch {
		case kind == "matrix" && len(c.Generators) != 2:
			return p.invalid(at+".generators", "a matrix needs two generators, not %d", len(c.Generators))
		case kind == "merge" && len(c.Generators) < 2:
			return p.invalid(at+".generators", "a merge needs two generators or more, not %d", len(c.Generators))
		case kind == "merge" && len(c.MergeKeys) == 0:
			return p.invalid(at+".mergeKeys", "a merge needs at least one merge key")
		}
		for i, child := range c.Generators {
			if err := p.validateGenerator(fmt.Sprintf("%s.generators[%d]", at, i), child, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// kindsOf lists the kinds of generators that an entry holds.
func kindsOf(generator map[string]any) []string {
	var kinds []string
	for _, kind := range generatorKinds {
		if generator[kind] != nil {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// invalid is the fault of a field whose value cannot be used.
func (p *parsed) invalid(field, format string, args ...any) *model.Fault {
	return &model.Fault{
		Reason:  reasonInvalidSpec,
		Message: field + ": " + fmt.Sprintf(format, args...),
		Advice:  "correct the field",
		Origin:  originOf(p.id, field),
	}
}

// decode fills a struct from a tree.
func decode(tree, into any) error {
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// checkOption reports whether text/template knows an option; it panics on
// those that it does not know.
func checkOption(option string) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%q is not an option of Go templates, such as missingkey=error", reader.Clip(option, 60))
		}
	}()
	template.New("").Option(option)
	return nil
}
