// Package differ says what counts as a difference between what is wanted and
// what is there, and what is left to others. Rules are compiled once; then
// Strip takes out of an object what is left to others, Copy keeps it as it is
// on the cluster, and Same compares. Everything is pure.
package differ
