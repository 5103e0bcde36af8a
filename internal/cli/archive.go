package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/release"
)

// What is packed of a directory may have this many files and bytes, of which
// single files that are larger are left out.
const (
	mostPacked     = 512 << 20
	mostFileBytes  = 16 << 20
	mostFiles      = 100_000
	mostLinks      = 16 // in a row, and charts in each other
	chartFile      = "Chart.yaml"
	chartFileBytes = 1 << 20
)

// archive makes a package of directories.
type archive struct {
	out   bytes.Buffer
	zip   *gzip.Writer
	tar   *tar.Writer
	files int
	bytes int64
}

func newArchive() *archive {
	a := &archive{}
	a.zip, _ = gzip.NewWriterLevel(&a.out, gzip.BestSpeed) // the level is a good one
	a.tar = tar.NewWriter(a.zip)
	return a
}

func (a *archive) close() ([]byte, error) {
	err := errors.Join(a.tar.Close(), a.zip.Close())
	return a.out.Bytes(), err
}

// add puts a directory below a place of the archive. Links that stay below root
// are followed, any other is left out. leaves says what else is.
func (a *archive) add(root, dir, at string, links int, leaves func(below string, info fs.FileInfo) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, in := filepath.Join(dir, entry.Name()), path.Join(at, entry.Name())
		deeper := links
		if entry.Type()&fs.ModeSymlink != 0 {
			if name, err = filepath.EvalSymlinks(name); err != nil || !below(root, name) || links >= mostLinks {
				continue
			}
			deeper++
		}
		info, err := os.Stat(name)
		if err != nil || leaves(in, info) {
			continue
		}
		switch {
		case info.IsDir():
			err = a.add(root, name, in, deeper, leaves)
		case info.Mode().IsRegular() && info.Size() <= mostFileBytes:
			err = a.file(name, in, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) file(name, in string, info fs.FileInfo) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	a.files++
	a.bytes += int64(len(content))
	if a.files > mostFiles || a.bytes > mostPacked {
		return fmt.Errorf("%s holds more than %d files or %d MiB", name, mostFiles, mostPacked>>20)
	}
	if err := a.tar.WriteHeader(&tar.Header{Name: in, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: int64(info.Mode().Perm())}); err != nil {
		return err
	}
	_, err = a.tar.Write(content)
	return err
}

// below reports whether a path is a directory or lies in it.
func below(dir, name string) bool {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(dir, string(filepath.Separator)))
	return ok && (rest == "" || rest[0] == filepath.Separator)
}

// packDirectory packs a directory as it is, but for Git's own.
func packDirectory(dir string) ([]byte, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	a := newArchive()
	if err := a.add(dir, dir, "", 0, func(in string, _ fs.FileInfo) bool { return path.Base(in) == ".git" }); err != nil {
		return nil, err
	}
	return a.close()
}

// chartHead is what is read of Chart.yaml.
type chartHead struct {
	Name, Version string
	Dependencies  []struct{ Name, Repository string }
}

func readChartHead(content []byte) (chartHead, bool) {
	var head chartHead
	err := yaml.Unmarshal(content, &head)
	return head, err == nil && head.Name != "" && head.Version != ""
}

// packChart packs the directory of a chart as helm package does: without what
// .helmignore names, and with the charts of directories that it depends on.
func packChart(root, dir string) ([]byte, error) {
	a := newArchive()
	if err := a.chart(root, dir, filepath.Base(dir), 0); err != nil {
		return nil, err
	}
	return a.close()
}

func (a *archive) chart(root, dir, at string, nested int) error {
	content, err := os.ReadFile(filepath.Join(dir, chartFile))
	if err != nil {
		return err
	}
	head, ok := readChartHead(content)
	if !ok || nested > mostLinks {
		return fmt.Errorf("%s is no chart", dir)
	}
	patterns, err := os.ReadFile(filepath.Join(dir, release.IgnoreFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ignored, err := release.Ignoring(patterns)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	err = a.add(root, dir, at, 0, func(in string, info fs.FileInfo) bool {
		return !info.IsDir() && ignored(strings.TrimPrefix(in, at+"/"))
	})
	for _, d := range head.Dependencies {
		local, is := strings.CutPrefix(d.Repository, "file://")
		if err != nil || !is {
			continue
		}
		from, to := filepath.Join(dir, filepath.FromSlash(local)), path.Join(at, "charts", d.Name)
		if exists(filepath.Join(dir, "charts", d.Name)) || !below(root, from) || !exists(filepath.Join(from, chartFile)) {
			continue
		}
		err = a.chart(root, from, to, nested+1)
	}
	return err
}

// packedHead reads Chart.yaml out of a packaged chart.
func packedHead(file string) (chartHead, bool) {
	packed, err := os.Open(file)
	if err != nil {
		return chartHead{}, false
	}
	defer func() { _ = packed.Close() }()
	unzipped, err := gzip.NewReader(packed)
	if err != nil {
		return chartHead{}, false
	}
	entries := tar.NewReader(io.LimitReader(unzipped, mostPacked))
	for range mostFiles {
		entry, err := entries.Next()
		if err != nil {
			return chartHead{}, false
		}
		if parts := strings.Split(path.Clean(entry.Name), "/"); len(parts) != 2 || parts[1] != chartFile {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(entries, chartFileBytes))
		if err != nil {
			return chartHead{}, false
		}
		return readChartHead(content)
	}
	return chartHead{}, false
}

// chartsBelow finds the charts in a directory: packaged ones, and directories
// with a Chart.yaml. What a chart brings along is found too.
func chartsBelow(root string) ([]foundChart, error) {
	var found []foundChart
	seen := 0
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen > mostFiles {
			return fmt.Errorf("%s holds more than %d files", root, mostFiles)
		}
		switch {
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.IsDir():
		case entry.Name() == chartFile:
			info, err := entry.Info()
			if err != nil || info.Size() > chartFileBytes {
				return err
			}
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if head, ok := readChartHead(content); ok {
				found = append(found, foundChart{head.Name, head.Version, root, filepath.Dir(name)})
			}
		case strings.HasSuffix(entry.Name(), ".tgz"):
			if head, ok := packedHead(name); ok {
				found = append(found, foundChart{head.Name, head.Version, root, name})
			}
		}
		return nil
	})
	// One that stands higher is meant before one that another brings along.
	slices.SortStableFunc(found, func(x, y foundChart) int {
		return strings.Count(x.file, string(filepath.Separator)) - strings.Count(y.file, string(filepath.Separator))
	})
	return found, err
}

// foundChart is a chart in a directory.
type foundChart struct {
	name, version string
	root          string // directory that was searched
	file          string // the package, or the directory of the chart
}

// pack is the packaged chart.
func (c foundChart) pack() ([]byte, error) {
	if strings.HasSuffix(c.file, ".tgz") {
		return os.ReadFile(c.file)
	}
	return packChart(c.root, c.file)
}
