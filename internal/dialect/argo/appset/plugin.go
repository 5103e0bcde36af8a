package appset

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// plugin: what a service answers (generators/plugin.go).
func (e *expansion) plugin(at string, body any) ([]params, error) {
	var g pluginGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	question, err := e.pluginQuestion(at, g)
	if err != nil {
		return nil, err
	}
	answer, err := e.answer(question, at)
	if err != nil {
		return nil, err
	}
	var out []params
	for _, fields := range answer.Parameters {
		set := e.fromTree(fields)
		set["generator"] = map[string]any{"input": map[string]any{"parameters": asDecoded(g.Input.Parameters)}}
		if err := e.render.addValues(at, g.Values, set); err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}

func (e *expansion) pluginQuestion(at string, g pluginGenerator) (model.Question, error) {
	where := at + ".configMapRef"
	o, err := lookup(e.facts, "ConfigMap", e.namespace, g.ConfigMapRef.Name)
	if err != nil {
		return model.Question{}, &placed{where, err}
	}
	data := configMapData(o)
	if data["baseUrl"] == "" {
		return model.Question{}, &placed{where, fmt.Errorf("ConfigMap %s has no baseUrl", o.GetName())}
	}
	secretName, key, ok := tokenReference(data["token"])
	if !ok {
		return model.Question{}, &placed{where, fmt.Errorf("the token of ConfigMap %s must name a key of a Secret, as $key or $secret:key", o.GetName())}
	}
	timeout := 30 * time.Second
	if text := data["requestTimeout"]; text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 {
			return model.Question{}, &placed{where, fmt.Errorf("requestTimeout of ConfigMap %s is no number of seconds", o.GetName())}
		}
		if seconds > 0 {
			timeout = time.Duration(min(seconds, 3600)) * time.Second
		}
	}
	secret, err := lookup(e.facts, "Secret", e.namespace, secretName)
	if err != nil {
		return model.Question{}, &placed{where, err}
	}
	token, ok := secretData(secret)[key]
	if !ok {
		return model.Question{}, &placed{where, fmt.Errorf("the Secret %s/%s has no key %q", e.namespace, reader.Clip(secretName, maxName), reader.Clip(key, 100))}
	}
	input, _ := asDecoded(g.Input.Parameters).(map[string]any)
	return model.Question{
		Key: keyOf("plugin", e.set.id.Name, data["baseUrl"], timeout, input, identity(secret), key),
		Plugin: &model.PluginQuestion{
			BaseURL: data["baseUrl"], Token: model.NewSecret([]byte(token)), Timeout: timeout,
			ApplicationSet: e.set.id.Name, Parameters: input,
		},
		Requeue: pollInterval(g.RequeueAfterSeconds, defaultPollInterval),
	}, nil
}

// tokenReference reads $key of argocd-secret, or $secret:key.
func tokenReference(text string) (secret, key string, ok bool) {
	reference, ok := strings.CutPrefix(text, "$")
	if !ok || reference == "" {
		return "", "", false
	}
	if secret, key, named := strings.Cut(reference, ":"); named {
		return secret, key, secret != "" && key != ""
	}
	return argoSecret, reference, true
}
