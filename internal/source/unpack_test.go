package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

func TestHostileArchives(t *testing.T) {
	small := Limits{Files: 20, Depth: 5, FileBytes: 1000, ArchiveBytes: 25_000, FetchBytes: 10_000}
	many := func(n int) []entry {
		var all []entry
		for i := range n {
			all = append(all, entry{name: "f" + strconv.Itoa(i), content: "x"})
		}
		return all
	}
	bomb := make([]entry, 19)
	for i := range bomb {
		bomb[i] = entry{name: "zero" + strconv.Itoa(i), content: strings.Repeat("\x00", 1000)}
	}
	for _, c := range []struct {
		name    string
		layer   []byte
		want    string // part of the message; "" when it is accepted
		listing string
	}{
		{"parent", archived(t, files("../x", "1")...), `tar contained invalid name error "../x"`, ""},
		{"parent inside", archived(t, files("a/../../x", "1")...), "invalid name", ""},
		{"absolute", archived(t, files("/etc/x", "1")...), "invalid name", ""},
		{"backslash", archived(t, files(`a\b`, "1")...), "invalid name", ""},
		{"link out", archived(t, entry{name: "l", typ: tar.TypeSymlink, link: "../../x"}, entry{name: "l/x", content: "1"}), "", "d l\nf l/x\n"},
		{"hard link", archived(t, entry{name: "l", typ: tar.TypeLink, link: "/etc/passwd"}), "", ""},
		{"device", archived(t, entry{name: "d", typ: tar.TypeChar}), "unsupported file type", ""},
		{"fifo", archived(t, entry{name: "d", typ: tar.TypeFifo}), "unsupported file type", ""},
		{"file and directory", archived(t, files("a", "1", "a/b", "2")...), "is a file, and a directory too", ""},
		{"directory and file", archived(t, files("a/b", "1", "a", "2")...), "is a directory, and a file too", ""},
		{"twice", archived(t, files("a", "1", "./a", "2")...), "", "f a\n"},
		{"too many files", archived(t, many(21)...), "more than 20 files", ""},
		{"too deep", archived(t, files("1/2/3/4/5/6", "x")...), "nested deeper than 5", ""},
		{"large file", archived(t, files("a", strings.Repeat("x", 1001))...), "larger than the 1000", ""},
		{"bomb", archived(t, bomb...), "bigger than max archive size of 25000 bytes", ""},
		{"large download", bytes.Repeat([]byte{0}, 10_001), "more than 10000 bytes", ""},
		{"cut off", archived(t, files("a", strings.Repeat("x", 900))...)[:60], "tar error", ""},
		{"damaged", append(archived(t, files("a", "x")...)[:40], bytes.Repeat([]byte{7}, 50)...), "tar error", ""},
		{"no archive", []byte("<html>not found</html>" + strings.Repeat(" ", 600)), "tar error", ""},
		{"case of .git", archived(t, files(".GIT/config", "x", "a/.Git/hooks/x", "x", "b", "1")...), "", "f b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffline()
			o.layers["v1"] = c.layer
			store := o.openWith(t, t.TempDir(), small)
			tree, err := store.Fetch(context.Background(), ociSource("v1"), nil, nil)
			if c.want != "" {
				mustFail(t, err, faultOf(t, err).Reason, c.want)
				if store.content.log != nil && store.content.log.bytes() != int64(len(logMagic)) {
					t.Error("what was refused is kept")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, tree); got != c.listing {
				t.Errorf("listing\n%s", got)
			}
		})
	}
}

// sparse is an archive of files that hold nothing but a length: GNU's old way of
// writing holes, which archive/tar reads and does not write.
func sparse(count, length int) []byte {
	var out bytes.Buffer
	for i := range count {
		h := make([]byte, 512)
		octal := func(at, width, value int) { copy(h[at:], fmt.Sprintf("%0*o\x00", width-1, value)) }
		copy(h, "hole"+strconv.Itoa(i))
		octal(100, 8, 0o644)
		octal(108, 8, 0)
		octal(116, 8, 0)
		octal(124, 12, 0)
		octal(136, 12, 0)
		h[156] = tar.TypeGNUSparse
		copy(h[257:], "ustar  \x00")
		octal(386, 12, length)
		octal(398, 12, 0)
		octal(483, 12, length)
		copy(h[148:], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		out.Write(h)
	}
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

func TestHolesCountWithTheirLength(t *testing.T) {
	unpacked := func(limit int64) (read int, err error) {
		limits := Limits{FileBytes: 1000, ArchiveBytes: limit, Files: 100, Depth: 5}
		err = unpack(context.Background(), bytes.NewReader(sparse(30, 900)), limits, unpacking{}, func(_ []string, _ model.EntryKind, content []byte) error {
			read += len(content)
			return nil
		})
		return read, err
	}
	if read, err := unpacked(30_000); err != nil || read != 27_000 {
		t.Errorf("%d bytes: %v", read, err)
	}
	if read, err := unpacked(20_000); !errors.Is(err, errTooLarge) || read > 20_000 {
		t.Errorf("%d bytes: %v", read, err)
	}
}

func TestPackagedCharts(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"Chart.yaml", "chart yaml not in base directory"},
		{"loose.txt", "outside the base directory"},
		{"/web/Chart.yaml", "absolute"},
		{"web//Chart.yaml", "absolute"},
		{"web/../../x", "invalid name"},
		{`web\..\..\x`, "invalid name"},
	} {
		err := unpack(context.Background(), bytes.NewReader(archived(t, files(c.name, "x")...)), Limits{}.withDefaults(), unpacking{chart: true}, func([]string, model.EntryKind, []byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var got []string
	err := unpack(context.Background(), bytes.NewReader(archived(t, files(`web\templates\a.yaml`, "x", "other/b.yaml", "x")...)), Limits{}.withDefaults(), unpacking{chart: true}, func(elements []string, _ model.EntryKind, _ []byte) error {
		got = append(got, strings.Join(elements, "/"))
		return nil
	})
	if err != nil || strings.Join(got, " ") != "templates/a.yaml b.yaml" {
		t.Errorf("%v %v", got, err)
	}
}

func TestEqualContentIsStoredOnce(t *testing.T) {
	o := newOffline()
	o.layers["v1"] = archived(t, files("a", strings.Repeat("same ", 1000), "b", "1")...)
	o.layers["v2"] = archived(t, files("a", strings.Repeat("same ", 1000), "b", "2")...)
	store := o.openWith(t, t.TempDir(), Limits{})
	mustFetch(t, store, ociSource("v1"), nil)
	before := store.content.log.bytes()
	mustFetch(t, store, ociSource("v2"), nil)
	if grown := store.content.log.bytes() - before; grown > 2000 {
		t.Errorf("one byte took %d", grown)
	}
}

func TestTreesAreThoseOfGit(t *testing.T) {
	r := newRepository(t)
	r.commit("a.b", "1", "a/x", "2", "a-b", "3")
	o := newOffline()
	o.layers["v1"] = archived(t, files("a/x", "2", "a-b", "3", "a.b", "1")...)
	store := o.openWith(t, t.TempDir(), Limits{})
	tree := mustFetch(t, store, ociSource("v1"), nil)
	if got, want := tree.root.origin.git.String(), r.git("rev-parse", "HEAD^{tree}"); got != want {
		t.Errorf("tree %s, Git has %s", got, want)
	}
}

// FuzzArchive looks for archives that leave the tree, or cost more than allowed.
func FuzzArchive(f *testing.F) {
	f.Add(archived(f, files("a/b.yaml", "x", "./c", "y")...), false)
	f.Add(archived(f, chartFiles("web", "1.0.0")...), true)
	f.Add(archived(f, entry{name: "l", typ: tar.TypeSymlink, link: "/"}, entry{name: "l/../..", content: "1"}), false)
	limits := Limits{Files: 50, Depth: 8, FileBytes: 4 << 10, ArchiveBytes: 64 << 10, FetchBytes: 1 << 20}.withDefaults()
	f.Fuzz(func(t *testing.T, content []byte, chart bool) {
		if len(content) > 1<<16 {
			return
		}
		if plain := new(bytes.Buffer); len(content) > 0 && content[0] != 0x1f {
			z := gzip.NewWriter(plain)
			_, _ = z.Write(content)
			_ = z.Close()
			content = plain.Bytes()
		}
		log := &objects{file: &memoryFile{}, index: map[plumbing.Hash]place{}}
		var root plumbing.Hash
		_, err := log.extend(func(b *batch) error {
			s := newStock(context.Background(), limits, b)
			err := unpack(context.Background(), bytes.NewReader(content), limits, unpacking{chart: chart}, s.add)
			if err == nil {
				root, err = s.write()
			}
			return err
		})
		if err != nil {
			return
		}
		b := &builder{ctx: context.Background(), limits: Limits{Files: 1000, Depth: 10}}
		d, err := b.dir(nil, &raw{repo: &depot{}, log: log, git: root}, nil, everything, true, nil)
		if err != nil {
			t.Fatalf("what was accepted cannot be read: %v", err)
		}
		if d.files > limits.Files {
			t.Fatalf("%d files", d.files)
		}
	})
}

// memoryFile is a log without a disk.
type memoryFile struct{ content []byte }

func (m *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(m.content).ReadAt(p, at)
}

func (m *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	if need := int(at) + len(p); need > len(m.content) {
		m.content = append(m.content, make([]byte, need-len(m.content))...)
	}
	return copy(m.content[at:], p), nil
}

func (m *memoryFile) Truncate(size int64) error {
	m.content = m.content[:min(size, int64(len(m.content)))]
	return nil
}

func (m *memoryFile) Close() error { return nil }
