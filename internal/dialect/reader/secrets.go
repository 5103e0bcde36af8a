package reader

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
)

// SecretData decodes data and stringData of a Secret; of none it is empty. Errors never repeat a value.
func SecretData(secret *unstructured.Unstructured) (map[string][]byte, error) {
	out := map[string][]byte{}
	if secret == nil {
		return out, nil
	}
	for _, field := range []string{"data", "stringData"} {
		values, ok := secret.Object[field].(map[string]any)
		if !ok && secret.Object[field] != nil {
			return nil, fmt.Errorf("its %s is not a map", field)
		}
		for key, value := range values {
			text, ok := value.(string)
			if !ok {
				return nil, fmt.Errorf("the value of '%s' is not a string", Clip(key, 100))
			}
			if field == "stringData" {
				out[key] = []byte(text)
				continue
			}
			decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
			if err != nil {
				return nil, fmt.Errorf("the value of '%s' is not base64", Clip(key, 100))
			}
			out[key] = decoded
		}
	}
	return out, nil
}

// AddressCredentials takes the user and the password that an address names for
// those that are not known otherwise.
func AddressCredentials(address *url.URL, username *string, password *model.Secret) {
	if address.User == nil {
		return
	}
	if *username == "" {
		*username = address.User.Username()
	}
	if named, ok := address.User.Password(); ok && password.IsZero() {
		*password = model.NewSecret([]byte(named))
	}
}
