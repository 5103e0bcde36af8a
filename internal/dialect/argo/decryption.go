package argo

import (
	"regexp"

	"plumb.dev/plumb/internal/dialect/decryption"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// fieldDecryption is where the Secret of keys is named.
const fieldDecryption = "metadata.annotations[" + AnnotationDecryption + "]"

// secretName is what a Secret may be called.
var secretName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// keysNeed is the Secret with the keys of SOPS that the Application names, in
// its own namespace; false: it names none that could exist.
func (c *compilation) keysNeed() (model.Need, bool) {
	name := c.declared.GetAnnotations()[AnnotationDecryption]
	return model.Need{Version: "v1", Kind: "Secret", Namespace: c.r.ID.Namespace, Name: name}, secretName.MatchString(name)
}

// keys reads the Secret; nil when none is named. A Secret with the key project
// is for the Applications of that project alone, as Secrets of repositories are:
// many Applications share a namespace.
func (c *compilation) keys() *model.Decryption {
	name, named := c.declared.GetAnnotations()[AnnotationDecryption]
	if !named || name == "" {
		return nil
	}
	refuse := func(message, advice string) *model.Decryption {
		c.r.Fail(&model.Fault{Reason: reasonComparison, Message: "sops decryption: " + message, Advice: advice, Retry: true}, fieldDecryption)
		return nil
	}
	need, possible := c.keysNeed()
	if !possible {
		return refuse("the annotation names no Secret", "write the name of a Secret in namespace "+c.r.ID.Namespace)
	}
	fact := c.facts[need]
	switch fact.State {
	case model.Present:
	case model.Absent:
		return refuse(need.String()+" does not exist", "create it, with the keys of SOPS")
	default:
		return refuse(need.String()+" cannot be read: "+reader.Clip(fact.Message, 300), "allow Plumb to read it")
	}
	data, err := reader.SecretData(fact.Object)
	if err != nil {
		return refuse(need.String()+": "+err.Error(), "correct it")
	}
	if project := string(data["project"]); project != "" && project != c.project.Name {
		return refuse(need.String()+" is kept for another project", "name a Secret of project "+c.project.Name)
	}
	out := &model.Decryption{Keys: decryption.Keys(data, false), SecretID: need.Namespace + "/" + need.Name}
	out.Digest = decryption.Digest(out)
	return out
}
