package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/cloud"
)

// googleScope is all that reading takes.
const googleScope = "https://www.googleapis.com/auth/devstorage.read_only"

// google is a bucket of Google Cloud Storage, by its JSON interface.
type google struct {
	wire   *wire
	client *http.Client
	base   *url.URL // of the bucket's objects
	bearer *bearer  // nil: anonymous
	lend   func(ctx context.Context) (cloud.Token, error)
}

func (c *Client) google(spec *model.BucketSource) (objects, error) {
	way, err := c.connection(&spec.Auth)
	if err != nil {
		return nil, err
	}
	home, err := url.Parse(c.options.Google)
	if err != nil {
		return nil, err
	}
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/?#%") || strings.Trim(spec.Name, ".") == "" {
		return nil, &model.Fault{
			Reason:  reasonOperationFailed,
			Message: fmt.Sprintf("'%s' is no name of a bucket", spec.Name),
			Advice:  "correct spec.bucketName",
		}
	}
	store := &google{wire: way, client: way.client(), base: home.JoinPath("storage/v1/b", spec.Name, "o")}
	store.client.Timeout = 0 // objects may take long; the caller's context ends them
	switch {
	case !spec.ServiceAccount.IsZero():
		source, err := googleKey(spec.ServiceAccount, way.client())
		if err != nil {
			return nil, err
		}
		store.bearer = &bearer{exchange: source}
	case spec.Auth.Workload != nil:
		broker, err := c.broker()
		if err != nil {
			return nil, err
		}
		caller := cloud.Caller{Identity: *spec.Auth.Workload, Proxy: spec.Auth.Proxy}
		store.lend = func(ctx context.Context) (cloud.Token, error) { return broker.Google(ctx, caller) }
	}
	return store, nil
}

// googleCredential is what a file of credentials holds, of either kind.
type googleCredential struct {
	Type         string `json:"type"`
	ClientEmail  string `json:"client_email"`
	PrivateKey   string `json:"private_key"`
	PrivateKeyID string `json:"private_key_id"`
	TokenURI     string `json:"token_uri"`

	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	RefreshToken string `json:"refresh_token"`
}

const googleTokens = "https://oauth2.googleapis.com/token"

// googleKey exchanges the key of a service account, or the consent of a user,
// for tokens. Other kinds of credentials name files, commands and addresses to
// get a token from, which must not be chosen by whoever wrote the Secret.
func googleKey(file model.Secret, client *http.Client) (func(ctx context.Context) (model.Secret, time.Time, error), error) {
	var key googleCredential
	if err := json.Unmarshal(file.Reveal(), &key); err != nil {
		return nil, errors.New("the 'serviceaccount' of the Secret is no JSON")
	}
	if key.TokenURI == "" {
		key.TokenURI = googleTokens
	}
	if !strings.HasPrefix(key.TokenURI, "https://") {
		return nil, errors.New("the 'token_uri' in the 'serviceaccount' of the Secret is no address by https")
	}
	var source func(ctx context.Context) oauth2.TokenSource
	switch key.Type {
	case "service_account":
		config := &jwt.Config{
			Email: key.ClientEmail, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.PrivateKeyID,
			Scopes: []string{googleScope}, TokenURL: key.TokenURI,
		}
		source = config.TokenSource
	case "authorized_user":
		config := &oauth2.Config{ClientID: key.ClientID, ClientSecret: key.ClientSecret, Endpoint: oauth2.Endpoint{TokenURL: key.TokenURI}}
		source = func(ctx context.Context) oauth2.TokenSource {
			return config.TokenSource(ctx, &oauth2.Token{RefreshToken: key.RefreshToken})
		}
	default:
		return nil, fmt.Errorf("the 'serviceaccount' of the Secret holds a credential of type %q, but only service_account and authorized_user are taken from a Secret", key.Type)
	}
	return func(ctx context.Context) (model.Secret, time.Time, error) {
		token, err := source(context.WithValue(ctx, oauth2.HTTPClient, client)).Token()
		if err != nil {
			return model.Secret{}, time.Time{}, tokenError(err)
		}
		return model.NewSecret([]byte(token.AccessToken)), token.Expiry, nil
	}, nil
}

// tokenError says why there is no token, without what was sent.
func tokenError(err error) error {
	var refused *oauth2.RetrieveError
	var at *url.Error
	switch {
	case errors.As(err, &refused):
		said := strings.TrimSpace(refused.ErrorCode + " " + refused.ErrorDescription)
		if refused.Response != nil {
			said = strings.TrimSpace(fmt.Sprintf("%d %s", refused.Response.StatusCode, said))
		}
		return &model.Fault{
			Reason:  reasonAuthentication,
			Message: "no token was given for the 'serviceaccount' of the Secret: " + said,
			Advice:  "replace the key: it may have been revoked",
			Retry:   true,
		}
	case errors.As(err, &at):
		return fmt.Errorf("no token was given: %w", at.Err)
	}
	return &model.Fault{
		Reason:  reasonAuthentication,
		Message: "the private key in the 'serviceaccount' of the Secret cannot be used",
		Advice:  "replace the key",
	}
}

// ask makes a request; the caller closes the body.
func (g *google) ask(ctx context.Context, address *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	token, err := g.token(ctx)
	if err != nil {
		return nil, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return send(g.client, request)
}

func (g *google) token(ctx context.Context) (string, error) {
	switch {
	case g.bearer != nil:
		return g.bearer.token(ctx)
	case g.lend != nil:
		token, err := g.lend(ctx)
		return string(token.Value.Reveal()), err
	}
	return "", nil
}

// send makes a request of a client that follows no redirects. Errors do not
// hold the address.
func send(client *http.Client, request *http.Request) (*http.Response, error) {
	response, err := client.Do(request)
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return response, err
}

// googlePage is one page of a listing (storage#objects).
type googlePage struct {
	Items []struct {
		Name string `json:"name"`
		ETag string `json:"etag"`
		Size string `json:"size"`
	} `json:"items"`
	NextPageToken string `json:"nextPageToken"`
}

func (g *google) list(ctx context.Context, prefix string, visit func(model.BucketObject) error) error {
	query := url.Values{"prefix": {prefix}, "fields": {"nextPageToken,items(name,etag,size)"}}
	for {
		page, err := g.page(ctx, query)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			size, err := strconv.ParseInt(item.Size, 10, 64)
			if err != nil {
				size = -1
			}
			if err := visit(model.BucketObject{Key: item.Name, ETag: item.ETag, Size: size}); err != nil {
				return err
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		query.Set("pageToken", page.NextPageToken)
	}
}

func (g *google) page(ctx context.Context, query url.Values) (*googlePage, error) {
	address := *g.base
	address.RawQuery = query.Encode()
	response, err := g.ask(ctx, &address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		err := googleError(response)
		if response.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", errNoBucket, err)
		}
		return nil, err
	}
	var page googlePage
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("the listing cannot be read: %w", err)
	}
	return &page, nil
}

func (g *google) get(ctx context.Context, key string) (io.ReadCloser, error) {
	address := *g.base
	address.Path += "/" + key
	address.RawPath = g.base.EscapedPath() + "/" + url.PathEscape(key)
	address.RawQuery = "alt=media"
	response, err := g.ask(ctx, &address)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return object(response)
	}
	err = googleError(response)
	if response.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return nil, errors.Join(err, response.Body.Close())
}

// googleError understands what Google answers.
func googleError(response *http.Response) error {
	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	text := http.StatusText(response.StatusCode)
	if json.NewDecoder(response.Body).Decode(&answer) == nil && answer.Error.Message != "" {
		text = answer.Error.Message
	}
	return &refusal{code: response.StatusCode, text: fmt.Sprintf("%s (%d)", text, response.StatusCode)}
}

func (g *google) close() { g.wire.close() }
