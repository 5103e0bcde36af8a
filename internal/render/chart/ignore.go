package chart

import (
	"bytes"
	"io/fs"
	"path"
	"time"

	"helm.sh/helm/v4/pkg/ignore"
)

// IgnoreFile is the name of the file, at the root of a chart's directory, whose
// rules leave files out. It means nothing in an archive.
const IgnoreFile = ignore.HelmIgnore

// Ignore reads the rules of an IgnoreFile (nil: there is none). The function
// reports whether a path, relative to the chart's directory, is left out;
// nothing below a directory that is left out is asked for. It must not be used
// by two goroutines at once.
func Ignore(rules []byte) (func(name string, dir bool) bool, error) {
	parsed, err := ignore.Parse(bytes.NewReader(rules))
	if err != nil {
		return nil, err
	}
	parsed.AddDefaults()
	return func(name string, dir bool) bool { return parsed.Ignore(name, named{path.Base(name), dir}) }, nil
}

// named is as much of a file as the rules look at.
type named struct {
	name string
	dir  bool
}

func (n named) Name() string       { return n.name }
func (n named) Size() int64        { return 0 }
func (n named) ModTime() time.Time { return time.Time{} }
func (n named) IsDir() bool        { return n.dir }
func (n named) Sys() any           { return nil }

func (n named) Mode() fs.FileMode {
	if n.dir {
		return fs.ModeDir
	}
	return 0
}
