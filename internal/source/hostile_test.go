package source

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
)

func TestStallingServer(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	release := make(chan struct{})
	store := openStore(t, t.TempDir(), Limits{Stall: 500 * time.Millisecond}) // in which Git answers on a busy machine, too
	good := mustFetch(t, store, gitSource(srv.url), nil)
	for name, begin := range map[string]string{"before the answer": "", "in the middle": "001e# service=git-upload-pack\n0000"} {
		t.Run(name, func(t *testing.T) {
			srv.onRequest(func(w http.ResponseWriter, _ *http.Request) bool {
				if begin != "" {
					_, _ = io.WriteString(w, begin)
					_ = http.NewResponseController(w).Flush()
				}
				<-release
				return true
			})
			_, err := store.Fetch(context.Background(), gitSource(srv.url), nil, good)
			mustFail(t, err, "GitOperationFailed", "stopped sending", "spec.timeout")
			if !faultOf(t, err).Retry {
				t.Error("trying again can help")
			}
		})
	}
	patient := openStore(t, t.TempDir(), Limits{})
	_, err := patient.Fetch(context.Background(), gitSource(srv.url, func(s *model.Source) { s.Timeout = 50 * time.Millisecond }), nil, nil)
	mustFail(t, err, "GitOperationFailed", "no answer within 50ms")
	close(release)
	srv.intercept.Store(nil)
	if again := mustFetch(t, store, gitSource(srv.url), good); again != good {
		t.Error("the last good tree must survive")
	}
}

func TestStallingSSHServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	public, private := sshKey(t)
	_ = public
	known := newSSHServer(t, public)
	store := openStore(t, t.TempDir(), Limits{Stall: 50 * time.Millisecond})
	_, err = store.Fetch(context.Background(), gitSource("ssh://git@"+listener.Addr().String()+"/x", func(s *model.Source) {
		s.Git.Auth = model.GitAuth{SSHKey: model.NewSecret(private), KnownHosts: known.knownHosts}
	}), nil, nil)
	mustFail(t, err, "GitOperationFailed", "stopped sending")
}

// packOf writes a pack of whole objects.
func packOf(objects ...[]byte) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	_ = binary.Write(&b, binary.BigEndian, uint32(2))
	_ = binary.Write(&b, binary.BigEndian, uint32(len(objects)))
	for _, o := range objects {
		b.Write(o)
	}
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

// packed is one object of a pack, declared to be of a size.
func packed(typ plumbing.ObjectType, content []byte, size int) []byte {
	var b bytes.Buffer
	first := byte(typ)<<4 | byte(size&15)
	size >>= 4
	for size > 0 {
		b.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
		size >>= 7
	}
	b.WriteByte(first)
	z := zlib.NewWriter(&b)
	_, _ = z.Write(content)
	_ = z.Close()
	return b.Bytes()
}

func whole(typ plumbing.ObjectType, content []byte) []byte { return packed(typ, content, len(content)) }

func treeOf(entries ...string) []byte {
	var b bytes.Buffer
	for i := 0; i < len(entries); i += 3 {
		_, _ = fmt.Fprintf(&b, "%s %s\x00", entries[i], entries[i+1])
		h := plumbing.NewHash(entries[i+2])
		b.Write(h[:])
	}
	return b.Bytes()
}

func commitOf(tree []byte) []byte {
	return fmt.Appendf(nil, "tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n", plumbing.ComputeHash(plumbing.TreeObject, tree))
}

// liar advertises a commit and answers every fetch with the same pack.
func liar(t *testing.T, tip plumbing.Hash, pack []byte) string {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			line := tip.String() + " refs/heads/main\x00shallow ofs-delta\n"
			_, _ = fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s0000", len(line)+4, line)
			return
		}
		_, _ = io.WriteString(w, "0034shallow "+tip.String()+"00000008NAK\n")
		_, _ = w.Write(pack)
	}))
	t.Cleanup(h.Close)
	return h.URL
}

func TestLyingServers(t *testing.T) {
	blob := []byte("content")
	blobHash := plumbing.ComputeHash(plumbing.BlobObject, blob).String()
	tree := treeOf("100644", "a.yaml", blobHash)
	commit := commitOf(tree)
	tip := plumbing.ComputeHash(plumbing.CommitObject, commit)
	good := packOf(whole(plumbing.CommitObject, commit), whole(plumbing.TreeObject, tree), whole(plumbing.BlobObject, blob))
	// of makes a sound pack of a tree that is not.
	of := func(tree []byte, more ...[]byte) (plumbing.Hash, []byte) {
		commit := commitOf(tree)
		objects := append([][]byte{whole(plumbing.CommitObject, commit), whole(plumbing.TreeObject, tree), whole(plumbing.BlobObject, blob)}, more...)
		return plumbing.ComputeHash(plumbing.CommitObject, commit), packOf(objects...)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	name := func(n string) (plumbing.Hash, []byte) { return of(treeOf("100644", n, blobHash)) }

	type lie struct {
		tip  plumbing.Hash
		pack []byte
		want string
	}
	sound := func(tip plumbing.Hash, pack []byte) func(want string) lie {
		return func(want string) lie { return lie{tip, pack, want} }
	}
	cases := map[string]lie{
		"truncated":          {tip, good[:len(good)-30], "checksum"},
		"no pack":            {tip, nil, "ends early"},
		"one bit":            {tip, flipped, "checksum"},
		"wrong commit":       {plumbing.NewHash(strings.Repeat("1", 40)), good, "is missing"},
		"a file is missing":  {tip, packOf(whole(plumbing.CommitObject, commit), whole(plumbing.TreeObject, tree)), "is missing"},
		"size understated":   {tip, packOf(whole(plumbing.CommitObject, commit), whole(plumbing.TreeObject, tree), packed(plumbing.BlobObject, blob, 3)), "damaged pack"},
		"size overstated":    {tip, packOf(packed(plumbing.BlobObject, blob, 1000)), "damaged pack"},
		"too large":          {tip, packOf(packed(plumbing.BlobObject, blob, 1<<40)), "larger than"},
		"a bomb":             {tip, packOf(whole(plumbing.BlobObject, make([]byte, 2<<20))), "larger than"},
		"count overstated":   {tip, countLie(good), "damaged pack"},
		"delta without base": {tip, packOf(refDelta(strings.Repeat("2", 40))), "without its base"},
		"a type that is not": {tip, packOf(packed(5, blob, 7)), "unknown type"},
		"garbage":            {tip, append(bytes.Repeat([]byte("x"), 100), sha1Of(bytes.Repeat([]byte("x"), 100))...), "no header"},
		"blob for tree":      sound(of(treeOf("40000", "d", blobHash)))("where a tree belongs"),
		"dot dot":            sound(name(".."))("forbidden name"),
		"dot git":            sound(name(".GIT"))("forbidden name"),
		"slash":              sound(name("a/b"))("forbidden name"),
		"empty name":         sound(name(""))("forbidden name"),
		"unknown mode":       sound(of(treeOf("60644", "a", blobHash)))("unknown mode"),
		"twice":              sound(of(treeOf("100644", "a", blobHash, "100755", "a", blobHash)))("two entries"),
		"cut off tree":       sound(of(append(treeOf("100644", "a", blobHash), "100644 b\x00123"...)))("malformed"),
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			store := openStore(t, t.TempDir(), Limits{FileBytes: 1 << 20})
			address := liar(t, c.tip, c.pack)
			for range 2 { // a lie must not be believed the second time either
				_, err := store.Fetch(context.Background(), gitSource(address), nil, nil)
				mustFail(t, err, "GitOperationFailed", c.want)
			}
		})
	}
	if tree := mustFetch(t, openStore(t, t.TempDir(), Limits{}), gitSource(liar(t, tip, good)), nil); read(t, tree, "a.yaml") != "content" {
		t.Error("the honest pack must be accepted")
	}
}

func sha1Of(b []byte) []byte { s := sha1.Sum(b); return s[:] }

func countLie(pack []byte) []byte {
	p := bytes.Clone(pack[:len(pack)-20])
	p[11]++
	return append(p, sha1Of(p)...)
}

func refDelta(base string) []byte {
	h := plumbing.NewHash(base)
	delta := []byte{1, 1, 1, 'x'}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = w.Write(delta)
	_ = w.Close()
	return append(append([]byte{byte(plumbing.REFDeltaObject)<<4 | byte(len(delta))}, h[:]...), z.Bytes()...)
}

func TestTreesThatExplode(t *testing.T) {
	// Every directory holds the one below twice: 2^40 files in 41 objects.
	blob := []byte("x")
	below := treeOf("100644", "f", plumbing.ComputeHash(plumbing.BlobObject, blob).String())
	objects := [][]byte{whole(plumbing.BlobObject, blob), whole(plumbing.TreeObject, below)}
	for range 40 {
		h := plumbing.ComputeHash(plumbing.TreeObject, below).String()
		below = treeOf("40000", "a", h, "40000", "b", h)
		objects = append(objects, whole(plumbing.TreeObject, below))
	}
	commit := commitOf(below)
	pack := packOf(append(objects, whole(plumbing.CommitObject, commit))...)
	address := liar(t, plumbing.ComputeHash(plumbing.CommitObject, commit), pack)
	_, err := openStore(t, t.TempDir(), Limits{Files: 1000}).Fetch(context.Background(), gitSource(address), nil, nil)
	mustFail(t, err, "GitOperationFailed", "more than 1000 files")
	_, err = openStore(t, t.TempDir(), Limits{Depth: 10}).Fetch(context.Background(), gitSource(address), nil, nil)
	mustFail(t, err, "GitOperationFailed", "nested deeper than 10")
}

func TestEndlessAnswers(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	small := openStore(t, t.TempDir(), Limits{FetchBytes: 100})
	_, err := small.Fetch(context.Background(), gitSource(srv.url), nil, nil)
	mustFail(t, err, "GitOperationFailed", "more than the limit")
	srv.onRequest(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
		for i := 0; ; i++ {
			line := fmt.Sprintf("%040x refs/heads/b%d\x00\n", i+1, i)
			if _, err := fmt.Fprintf(w, "%04x%s", len(line)+4, line); err != nil {
				return true
			}
		}
	})
	_, err = openStore(t, t.TempDir(), Limits{RefBytes: 1 << 20}).Fetch(context.Background(), gitSource(srv.url), nil, nil)
	mustFail(t, err, "GitOperationFailed")
	srv.onRequest(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, "<html>Welcome to the login page</html>")
		return true
	})
	_, err = openStore(t, t.TempDir(), Limits{}).Fetch(context.Background(), gitSource(srv.url), nil, nil)
	mustFail(t, err, "GitOperationFailed", "not a reference advertisement")
}

// fullDisk refuses writes once it is told to.
type fullDisk struct {
	logFile
	full bool
}

func (f *fullDisk) WriteAt(p []byte, at int64) (int, error) {
	if f.full {
		n, _ := f.logFile.WriteAt(p[:len(p)/2], at)
		return n, &os.PathError{Op: "write", Path: "/secret/place/objects", Err: syscall.ENOSPC}
	}
	return f.logFile.WriteAt(p, at)
}

func TestFullDisk(t *testing.T) {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	good := mustFetch(t, store, gitSource(srv.url), nil)
	m := store.mirrors[onlyKey(t, store)]
	disk := &fullDisk{logFile: m.log.file, full: true}
	m.log.file = disk
	r.commit("a.yaml", "2")
	_, err := store.Fetch(context.Background(), gitSource(srv.url), nil, good)
	mustFail(t, err, "GitOperationFailed", "no space left on device", "make room")
	if strings.Contains(err.Error(), "/secret/place") || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if read(t, good, "a.yaml") != "1" {
		t.Error("the last good tree is not readable")
	}
	disk.full = false
	if tree := mustFetch(t, store, gitSource(srv.url), good); read(t, tree, "a.yaml") != "2" {
		t.Error("wrong content once there is room again")
	}
}

func TestUnwritableDirectory(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Error("a store needs a directory")
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: file}); err == nil {
		t.Error("a file is no directory")
	}
}

func FuzzUnpack(f *testing.F) {
	scratch := f.TempDir()
	tree := treeOf("100644", "a", plumbing.ComputeHash(plumbing.BlobObject, []byte("x")).String())
	f.Add(packOf(whole(plumbing.BlobObject, []byte("x")), whole(plumbing.TreeObject, tree), whole(plumbing.CommitObject, commitOf(tree))))
	f.Add(packOf(refDelta(strings.Repeat("2", 40))))
	tip := plumbing.ComputeHash(plumbing.CommitObject, commitOf(tree))
	log, err := openObjects(f.TempDir()+"/objects", 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	limits := Limits{FileBytes: 1 << 16, UnpackBytes: 1 << 20}.withDefaults()
	f.Fuzz(func(t *testing.T, pack []byte) {
		if len(pack) > 20 { // the trailer is not what is tested here
			pack = append(bytes.Clone(pack[:len(pack)-20]), sha1Of(pack[:len(pack)-20])...)
		}
		got, err := receive(bytes.NewReader(pack), scratch)
		if err != nil {
			return
		}
		defer got.close()
		u, err := openPackIndex(context.Background(), got, log, limits)
		if err != nil {
			return
		}
		for h, id := range u.byHash {
			content, err := u.content(id)
			if err == nil && plumbing.ComputeHash(u.entries[id].typ, content) != h {
				t.Errorf("object %s is something else", h)
			}
		}
		b := log.begin()
		if err := u.keep(b, tip, plumbing.CommitObject, 0); err == nil && !b.has(tip) {
			t.Error("kept nothing")
		}
	})
}

func FuzzParsers(f *testing.F) {
	scratch := f.TempDir()
	f.Add([]byte("!/a/**/b/\n#x\n[\n"), "a/b/c")
	f.Add([]byte("[submodule \"x\"]\n\tpath = a\n\turl = ../b\n"), "..")
	f.Add([]byte("tree 1\ngpgsig -----BEGIN SSH SIGNATURE-----\n x\n\nmessage"), "x")
	f.Add(treeOf("40000", "a", strings.Repeat("1", 40)), "")
	f.Fuzz(func(t *testing.T, content []byte, p string) {
		elements, ok := clean(p)
		for _, e := range elements {
			if e == ".." || e == "." || e == "" {
				t.Errorf("%q is cleaned to %q", p, elements)
			}
		}
		if ok && len(elements) > 0 {
			text := string(content)
			newRules(&text, true).excludes(elements, false)
		}
		if entries, err := parseTree(content); err == nil {
			for _, e := range entries {
				if validName(e.name) != nil {
					t.Errorf("forbidden name %q", e.name)
				}
			}
		}
		if payload, signature, err := splitCommit(content); err == nil && signature == "" && !bytes.Equal(payload, content) && bytes.HasSuffix(content, []byte("\n")) && !bytes.Contains(content, []byte("gpgsig ")) {
			t.Error("an unsigned commit must be its own payload")
		}
		_, _ = parseModules(content)
		_, _ = parseSSHSignature(content)
		_, _ = parseAuthorizedKeys(content)
		_, _ = readAdvert(bytes.NewReader(content))
		_, _, _ = describeCommit(plumbing.ZeroHash, content)
		_, _ = readKnownHosts(content, scratch)
		_ = commitParents(content)
		_, _ = splitTag(content)
	})
}
