// Package helm holds what Helm and helm-controller are agreed on as text and as
// tables, for everybody who compiles, renders, orders or reports a release:
//
//   - names: of releases ([ReleaseName], [ShortName]), of chart versions that a
//     digest is part of ([ChartVersion]), and how messages call them
//     ([ReleaseText], [ChartText]);
//   - digests as a HelmRelease's status shows them: of values ([ValuesDigest],
//     [SameValues]) and of parts of the spec ([SpecDigest]);
//   - hooks: what the annotations of an object say ([ReadHook]), and in which
//     order the hooks of an action run ([Stages]);
//   - order: of kinds in an install and in an uninstall ([InstallRank],
//     [UninstallRank]);
//   - ownership: the marks that Helm knows its objects by ([Marks], [Foreign],
//     [Keeps]).
//
// It is pure: the life cycle of a release, and the records of it, are in
// internal/release.
package helm
