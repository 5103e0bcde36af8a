// Package sops opens what SOPS has encrypted, with the keys that a declared
// object names and nothing else.
//
//	file ──bounds──▶ tree ──key service──▶ data key ──▶ values, MAC ──▶ plaintext
//
// The formats, the tree and its MAC are those of github.com/getsops/sops/v3.
// Its key sources are not used: they read the environment, home directories and
// agents, and start gpg, age plugins and other programs. The key service of
// this package (keyservice.go) answers from the keys that were handed in: age
// identities and PGP keys in memory, Vault, AWS, Azure and Google over HTTPS
// with the credentials of the Secret, or with those that Workload has.
//
// The names of keys, what they hold, and the order of things follow
// kustomize-controller (internal/decryptor, internal/sops). Where this package
// differs: MACs are always checked; age plugins, encrypted private keys, and
// Google credentials that name files, programs or other servers are refused;
// redirects are not followed.
//
// Plaintext and keys are in memory only. No message holds a value, a key, or
// what a server answered.
package sops
