package stage

import (
	"io/fs"
	"os"
	"path/filepath"

	"plumb.dev/plumb/internal/source/bucket/s3test"
)

// FillBucket gives the bucket the files of a directory, and nothing else. fill
// is done to every file.
func (w *Warehouse) FillBucket(dir string, fill func([]byte) []byte) error {
	objects := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(dir, file)
		objects[filepath.ToSlash(key)] = string(fill(content))
		return err
	})
	if err != nil {
		return err
	}
	w.bucket.Change(func(s *s3test.Store) { s.Objects = objects })
	return nil
}
