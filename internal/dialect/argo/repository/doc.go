// Package repository turns the address of a repository and the Secrets of an
// Argo CD installation into an implied source: what an Application reads,
// with the credential that fits.
package repository
