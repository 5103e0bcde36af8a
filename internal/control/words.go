package control

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// words answers what the engine asks the dialects.
type words struct{ ds *declarations }

func (w words) room(name string) dialect.Dialect {
	for _, d := range w.ds.dialects {
		if d.Name() == name {
			return d
		}
	}
	return nil
}

// Handling reads what the annotations of an object ask for.
func (w words) Handling(name string, o *unstructured.Unstructured) (model.Handling, model.Stage) {
	if d := w.room(name); d != nil {
		return d.Handling(o)
	}
	return model.Handling{}, model.Stage{}
}

// Override changes how an input is rendered by a file in its directory.
func (w words) Override(name string, render model.Render, file string, content []byte) (model.Render, error) {
	if d := w.room(name); d != nil {
		return d.Override(render, file, content)
	}
	return render, nil
}

// Expand makes the objects of a delivery that is rendered by expansion.
func (w words) Expand(id object.ID, facts model.Facts, answers map[string]model.Answer) ([]model.Rendered, []model.Question, []model.Finding, error) {
	d := w.ds.get(id)
	if d == nil {
		return nil, nil, nil, fmt.Errorf("%s is gone", id)
	}
	return d.dialect.Expand(d.current.Load(), facts, answers, w.ds.settings)
}
