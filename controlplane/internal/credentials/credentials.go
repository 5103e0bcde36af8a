// Package credentials makes and keeps what clients and components identify
// themselves with: one certificate authority, bearer tokens, the key that
// signs service-account tokens, and the kubeconfig files that carry them.
//
// The authority, the tokens and the signing key are made once per data
// directory, so that a kubeconfig handed out stays valid across restarts. The
// serving and front-proxy certificates are issued anew at every start: they
// can never expire in a cluster that is restarted now and then.
//
// Clients use bearer tokens. A client certificate would be verified anew for
// every request, which costs the API server a measurable share of its time.
package credentials

import (
	"crypto"
	"crypto/rand"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"plumb.dev/plumb/controlplane/internal/datadir"
)

// User is somebody the API server knows by a bearer token. All of them are
// administrators: components run in this very process, and per-component
// rights would guard nothing.
type User string

// The users of the control plane, told apart in audit logs and field managers.
const (
	Admin             User = "plumb:admin"
	ControllerManager User = "system:kube-controller-manager"
	Scheduler         User = "system:kube-scheduler"
	Nodes             User = "plumb:nodes"
	Storage           User = "plumb:storage"
	Namespaces        User = "plumb:namespaces"
	LoadBalancer      User = "plumb:load-balancer"
)

var users = []User{Admin, ControllerManager, Scheduler, Nodes, Storage, Namespaces, LoadBalancer}

const administrators = "system:masters"

// Credentials names the files that the API server and the controllers read.
type Credentials struct {
	CAFile                string
	ServingCertFile       string
	ServingKeyFile        string
	FrontProxyCertFile    string
	FrontProxyKeyFile     string
	ServiceAccountKeyFile string
	TokenFile             string

	ca     []byte
	tokens map[User]string
}

// Prepare loads the credentials of the data directory, making what is missing.
func Prepare(dir *datadir.Dir) (*Credentials, error) {
	if err := os.MkdirAll(dir.Path("pki"), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory for keys: %w", err)
	}
	c := &Credentials{
		CAFile:                dir.Path("pki", "ca.crt"),
		ServingCertFile:       dir.Path("pki", "apiserver.crt"),
		ServingKeyFile:        dir.Path("pki", "apiserver.key"),
		FrontProxyCertFile:    dir.Path("pki", "front-proxy.crt"),
		FrontProxyKeyFile:     dir.Path("pki", "front-proxy.key"),
		ServiceAccountKeyFile: dir.Path("pki", "service-account.key"),
		TokenFile:             dir.Path("pki", "tokens.csv"),
	}
	if err := c.prepareCertificates(dir.Path("pki", "ca.key")); err != nil {
		return nil, err
	}
	if _, err := loadOrMakeKey(c.ServiceAccountKeyFile); err != nil {
		return nil, fmt.Errorf("service-account signing key: %w", err)
	}
	tokens, err := loadOrMakeTokens(c.TokenFile)
	if err != nil {
		return nil, err
	}
	c.tokens = tokens
	return c, nil
}

func (c *Credentials) prepareCertificates(caKeyFile string) error {
	authority, err := loadOrMakeAuthority(c.CAFile, caKeyFile)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	c.ca = authority.pem
	if err := authority.issue(servingTemplate(), c.ServingCertFile, c.ServingKeyFile); err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	if err := authority.issue(frontProxyTemplate(), c.FrontProxyCertFile, c.FrontProxyKeyFile); err != nil {
		return fmt.Errorf("front-proxy certificate: %w", err)
	}
	return nil
}

// loadOrMakeTokens reads the token file of the API server. A user that is
// missing from it, as after an upgrade, gets a token of its own.
func loadOrMakeTokens(path string) (map[User]string, error) {
	tokens, err := readTokens(path)
	if err != nil {
		return nil, err
	}
	complete := true
	for _, user := range users {
		if tokens[user] != "" {
			continue
		}
		complete = false
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return nil, fmt.Errorf("make a token: %w", err)
		}
		tokens[user] = hex.EncodeToString(secret)
	}
	if complete {
		return tokens, nil
	}
	return tokens, writeTokens(path, tokens)
}

func readTokens(path string) (map[User]string, error) {
	tokens := map[User]string{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return tokens, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w", err)
	}
	defer func() { _ = file.Close() }()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the tokens in %s: %w; delete the file to have new ones made", path, err)
	}
	for _, record := range records {
		if len(record) >= 2 {
			tokens[User(record[1])] = record[0]
		}
	}
	return tokens, nil
}

func writeTokens(path string, tokens map[User]string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the tokens: %w", err)
	}
	out := csv.NewWriter(file)
	for _, user := range users {
		// token, user name, user id, groups
		if err := out.Write([]string{tokens[user], string(user), string(user), administrators}); err != nil {
			_ = file.Close()
			return fmt.Errorf("write the tokens: %w", err)
		}
	}
	out.Flush()
	return errors.Join(out.Error(), file.Close())
}

// loadOrMakeKey returns the ECDSA key in the file.
func loadOrMakeKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return parseKey(path, text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return makeKey(path)
}
