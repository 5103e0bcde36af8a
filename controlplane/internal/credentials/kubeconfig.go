package credentials

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName names cluster, user and context in every kubeconfig written here.
const contextName = "plumb"

// Client configures a client of the server for a user. It speaks protobuf,
// and does not limit its own rate: everything runs on one machine.
func (c *Credentials) Client(server string, user User) *rest.Config {
	return &rest.Config{
		Host:            server,
		BearerToken:     c.tokens[user],
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca},
		ContentConfig:   rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf},
		UserAgent:       string(user),
		QPS:             -1,
	}
}

// WriteKubeconfig writes a kubeconfig for a user, replacing only a file that
// was written here before.
func (c *Credentials) WriteKubeconfig(path, server string, user User) error {
	if err := CheckKubeconfig(path); err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[contextName] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: c.ca}
	config.AuthInfos[contextName] = &clientcmdapi.AuthInfo{Token: c.tokens[user]}
	config.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: contextName}
	config.CurrentContext = contextName

	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return replaceFile(path, text)
}

// CheckKubeconfig protects a kubeconfig that holds other clusters: it is an
// error to write there.
func CheckKubeconfig(path string) error {
	existing, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s exists and is no kubeconfig (%w): choose another --kubeconfig", path, err)
	}
	for name := range existing.Clusters {
		if name != contextName {
			return fmt.Errorf("%s holds other clusters (%s): choose another --kubeconfig, and merge the two with the KUBECONFIG variable", path, name)
		}
	}
	return nil
}

// replaceFile writes beside the file and renames, so that a reader never sees
// half of it.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("create the directory of %s: %w", path, err)
	}
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, writing := draft.Write(text)
	if err := errors.Join(writing, draft.Close(), os.Rename(draft.Name(), path)); err != nil {
		_ = os.Remove(draft.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
