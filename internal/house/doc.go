// Package house holds the rules of the repository as tests: which package may
// import which (the floors), what the pure floors must not touch, which library
// lives in which room, and how a package and a file have to look. It ships
// nothing. A rule that is in the way is changed here, in its table, with the
// reason beside it.
package house
