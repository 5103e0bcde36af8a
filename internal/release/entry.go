package release

import (
	"io/fs"
	"path"
	"time"
)

// entry is what the rules of .helmignore ask of a file.
type entry struct {
	name string
	dir  bool
}

func (e entry) Name() string { return path.Base(e.name) }
func (e entry) Size() int64  { return 0 }
func (e entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}
func (e entry) ModTime() time.Time { return time.Time{} }
func (e entry) IsDir() bool        { return e.dir }
func (e entry) Sys() any           { return nil }
