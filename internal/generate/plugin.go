package generate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"plumb.dev/plumb/internal/model"
)

// pluginTimeout is argo-cd's default of requestTimeout.
const pluginTimeout = 30 * time.Second

// pluginErrand understands a question for a plugin (argo-cd, "Plugin
// Generator"): one request, whose answer names sets of parameters.
func (a *Asker) pluginErrand(q model.PluginQuestion) (errand, error) {
	const what = "ask the generator plugin"
	fail := func(err error) (errand, error) { return errand{}, fmt.Errorf("%s: %w", what, err) }
	c, err := a.connect("plugin", "the plugin", q.BaseURL, model.Credential{Token: q.Token})
	if err != nil {
		return fail(err)
	}
	c.authorize = func(_ context.Context, header http.Header) error {
		if !q.Token.IsZero() {
			header.Set("Authorization", "Bearer "+string(q.Token.Reveal()))
		}
		return nil
	}
	body, err := pluginRequest(q)
	if err != nil {
		return fail(err)
	}
	if c.timeout = q.Timeout; c.timeout <= 0 {
		c.timeout = pluginTimeout
	}
	key, err := sameness("plugin", c.identity, q.Timeout, q.ApplicationSet, q.Parameters)
	if err != nil {
		return fail(err)
	}
	return errand{what: what, key: key, run: func(ctx context.Context) (model.Answer, error) {
		said, err := c.do(ctx, request{method: http.MethodPost, path: "/api/v1/getparams.execute", body: body}, "")
		if err != nil {
			return model.Answer{}, err
		}
		parameters, err := c.pluginParameters(said.body)
		return model.Answer{Parameters: parameters}, err
	}}, nil
}

func pluginRequest(q model.PluginQuestion) ([]byte, error) {
	type input struct {
		Parameters map[string]any `json:"parameters,omitempty"`
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		ApplicationSetName string `json:"applicationSetName"`
		Input              input  `json:"input"`
	}{q.ApplicationSet, input{q.Parameters}})
	if err != nil {
		return nil, errors.New("the input parameters cannot be written as JSON")
	}
	return body.Bytes(), nil
}

// pluginParameters reads {"output": {"parameters": [{…}, …]}}. An answer
// without the list is no answer: only a list that is there can be empty.
func (c *api) pluginParameters(body []byte) ([]map[string]any, error) {
	var said struct {
		Output struct {
			Parameters json.RawMessage `json:"parameters"`
		} `json:"output"`
	}
	if err := c.decode(body, &said); err != nil {
		return nil, err
	}
	if said.Output.Parameters == nil {
		return nil, advised{
			errors.New("its answer has no output.parameters"),
			"let the plugin answer with an empty list when there is nothing to generate",
		}
	}
	var parameters []map[string]any // null is what an empty list is in Go
	if err := c.decode(said.Output.Parameters, &parameters); err != nil {
		return nil, err
	}
	if limit := c.asker.limits.Results; len(parameters) > limit {
		return nil, errLimit{fmt.Sprintf("the plugin answers with more than %d sets of parameters", limit)}
	}
	return parameters, nil
}
