package control

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/webhook"
)

// webhooks answers forges that tell of a push: exactly the sources that it
// concerns look again at once.
type webhooks struct {
	engine  waker
	secrets func() (webhook.Secrets, bool)
	log     *slog.Logger
}

// waker is what a webhook can bring about.
type waker interface {
	WakeSources(matches func(*model.Source) bool) int
	AskAgain(matches func(*model.Question) bool) int
}

// ServeHTTP is POST /api/webhook (argo-cd, docs/operator-manual/webhook.md).
func (h *webhooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secrets, known := h.secrets()
	if !known {
		http.Error(w, "the secrets of webhooks are not known yet", http.StatusServiceUnavailable)
		return
	}
	push, err := webhook.Parse(r, secrets)
	var refused *webhook.Refused
	switch {
	case errors.As(err, &refused):
		http.Error(w, refused.Message, refused.Status)
		return
	case err != nil:
		http.Error(w, "the payload cannot be understood", http.StatusBadRequest)
		return
	}
	woken, asked := 0, 0
	if push != nil { // nothing moved otherwise: a ping
		woken = h.engine.WakeSources(push.Moves)
		asked = h.engine.AskAgain(func(q *model.Question) bool {
			return q.PullRequests != nil && push.ConcernsPullRequests(q.PullRequests)
		})
	}
	h.log.Info("webhook", "sources", woken, "generators", asked)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int{"sources": woken, "generators": asked})
}

// webhookUser is whom the need belongs to: no declared object has such a name.
var webhookUser = object.ID{Kind: "Webhook"}

// secretOf names the Secret (argo-cd: argocd-secret).
func secretOf(settings dialect.Settings) model.Need {
	namespace := settings.ArgoNamespace
	if namespace == "" {
		namespace = defaultArgoNamespace
	}
	return model.Need{Version: "v1", Kind: "Secret", Namespace: namespace, Name: "argocd-secret"}
}

const defaultArgoNamespace = "argocd"

// webhookSecrets reads the secrets of webhooks as they are now; false while
// they are not known, or may not be read: a forge with a secret is then not
// taken for one without.
func (ds *declarations) webhookSecrets() (webhook.Secrets, bool) {
	need := secretOf(ds.settings)
	known := model.Facts{}
	if !ds.facts.answer(webhookUser, []model.Need{need}, known) {
		return webhook.Secrets{}, false
	}
	switch known[need].State {
	case model.Absent:
		return webhook.Secrets{}, true
	case model.Present:
	default:
		return webhook.Secrets{}, false
	}
	data := dataOf(known[need])
	for k, v := range data {
		name, key, elsewhere := reference(v)
		if !elsewhere {
			continue
		}
		other := need
		if name != "" {
			other.Name = name
		}
		if !ds.facts.answer(webhookUser, []model.Need{other}, known) || known[other].State != model.Present {
			return webhook.Secrets{}, false // what is signed with it cannot be told from what is not
		}
		data[k] = dataOf(known[other])[key]
	}
	secrets := webhook.SecretsFrom(data)
	secrets.MaxBytes = ds.webhookBytes(known)
	return secrets, true
}

// reference reads "$key", a key of the same Secret, or "$secret:key"
// (argo-cd, docs/operator-manual/webhook.md).
func reference(value []byte) (secret, key string, ok bool) {
	text, ok := strings.CutPrefix(strings.TrimSpace(string(value)), "$")
	if !ok {
		return "", "", false
	}
	if name, key, apart := strings.Cut(text, ":"); apart {
		return name, key, true
	}
	return "", text, true
}

// webhookBytes bounds a payload (argocd-cm, webhook.maxPayloadSizeMB); 0 for the
// default.
func (ds *declarations) webhookBytes(known model.Facts) int64 {
	need := secretOf(ds.settings)
	need.Kind, need.Name = "ConfigMap", "argocd-cm"
	if !ds.facts.answer(webhookUser, []model.Need{need}, known) || known[need].State != model.Present {
		return 0
	}
	const most = 1024
	n, err := strconv.ParseInt(field(known[need].Object, "data", "webhook.maxPayloadSizeMB"), 10, 64)
	if err != nil || n <= 0 || n > most {
		return 0
	}
	return n << 20
}

// dataOf decodes a Secret.
func dataOf(fact model.Fact) map[string][]byte {
	data := map[string][]byte{}
	encoded, _ := fact.Object.Object["data"].(map[string]any)
	for k, v := range encoded {
		text, _ := v.(string)
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
			data[k] = plain
		}
	}
	return data
}
