package source

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestASharedTreeHasTheSameContentAndFile(t *testing.T) {
	o := newOffline()
	o.publish(t, "web", "1.0.0")
	dir := t.TempDir()
	store := o.openWith(t, dir, Limits{})
	implied := chartSource("web", "1.0.0")
	implied.Implied = true
	tree := mustFetch(t, store, implied, nil)
	pulls := o.pulls.Load()

	shown := chartSource("web", "1.0.0")
	shown.ID, shown.Same = named("HelmChart", "shop-web"), implied.ID
	shared := store.Share(tree, shown.ID)
	if shared.Digest() != tree.Digest() || shared.Revision() != tree.Revision() || read(t, shared, "Chart.yaml") != read(t, tree, "Chart.yaml") {
		t.Error("a shared tree is another")
	}
	mine, theirs := mustArchive(t, shared), mustArchive(t, tree)
	if mine.Digest != theirs.Digest || mine.Path == theirs.Path {
		t.Errorf("%v and %v", mine, theirs)
	}
	if names(t, download(t, store, mine.Path)) == "" {
		t.Error("its file cannot be had")
	}
	file := func(path string) os.FileInfo {
		info, err := os.Stat(filepath.Join(store.archives.dir, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if !os.SameFile(file(mine.Path), file(theirs.Path)) {
		t.Error("its file is built twice")
	}

	// It goes on when nobody reads the other one any more, also after a restart.
	if err := store.Forget(implied.ID); err != nil {
		t.Fatal(err)
	}
	if mustArchive(t, shared).Digest != mine.Digest {
		t.Error("its file has gone with the other one")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := o.openWith(t, dir, Limits{}).Recall(context.Background(), shown, nil, "1.0.0")
	if err != nil || again.Digest() != tree.Digest() {
		t.Errorf("%v %v", again, err)
	}
	if o.pulls.Load() != pulls {
		t.Error("it was fetched again")
	}
}
