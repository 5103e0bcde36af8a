package source

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// signer is a person with an OpenPGP key.
type signer struct {
	t      *testing.T
	entity *openpgp.Entity
	config *packet.Config
}

// newSigner makes a key at a time before now that lives for so long; 0 for ever.
func newSigner(t *testing.T, ago, life time.Duration) *signer {
	t.Helper()
	born := time.Now().Add(-ago)
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: uint32(life.Seconds()), Time: func() time.Time { return born }}
	entity, err := openpgp.NewEntity("Ada", "", "ada@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t: t, entity: entity, config: config}
}

func (s *signer) id() string { return s.entity.PrimaryKey.KeyIdString() }

func (s *signer) armored() []byte {
	s.t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err == nil {
		err = s.entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return append(out.Bytes(), '\n')
}

// key is an entry of argocd-gpg-keys-cm.
func (s *signer) key() model.VerifyKey { return model.VerifyKey{Name: s.id(), PEM: s.armored()} }

func (s *signer) sign(payload []byte) string {
	s.t.Helper()
	var out bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&out, s.entity, bytes.NewReader(payload), s.config); err != nil {
		s.t.Fatal(err)
	}
	return out.String() + "\n"
}

// as signs with another configuration.
func (s *signer) as(config packet.Config) *signer {
	if config.Time == nil {
		config.Time = s.config.Time
	}
	return &signer{t: s.t, entity: s.entity, config: &config}
}

func nobody([]byte) string { return "" }

// integrity is what an application's source looks like.
func integrity(url string, mode model.VerifyMode, revision string, keys ...model.VerifyKey) model.Source {
	return gitSource(url, func(s *model.Source) {
		s.ID = object.ID{Group: "plumb.dev", Kind: "Repository", Namespace: "argocd", Name: revision}
		s.Implied = true
		s.Git.Ref = model.GitRef{Revision: revision}
		s.Git.Verify = &model.GitVerify{Mode: mode, Keys: keys, SecretID: "argocd/argocd-gpg-keys-cm"}
	})
}

func TestRevisionsAreSignedAsArgoAsks(t *testing.T) {
	ada := newSigner(t, time.Hour, 0)
	stranger := newSigner(t, time.Hour, 0)
	expired := newSigner(t, 2*time.Hour, time.Hour)
	revoked := newSigner(t, time.Hour, 0)
	fingerprint, id, signSSH := sshSigner(t, "git")
	brief := ada.as(packet.Config{SigLifetimeSecs: 60})
	if err := revoked.entity.RevokeKey(packet.KeySuperseded, "", nil); err != nil {
		t.Fatal(err)
	}
	working := newSigner(t, time.Hour, 0)
	if err := working.entity.AddSigningSubkey(working.config); err != nil {
		t.Fatal(err)
	}
	subkey := working.entity.Subkeys[len(working.entity.Subkeys)-1].PublicKey.KeyIdString()
	for name, c := range map[string]struct {
		sign func([]byte) string
		keys []model.VerifyKey
		key  string // that the tree is signed with, or the message names
		want string // "" when it is accepted
	}{
		"good":               {ada.sign, []model.VerifyKey{stranger.key(), ada.key()}, ada.id(), ""},
		"by fingerprint":     {ada.sign, []model.VerifyKey{{Name: fmt.Sprintf("%x", ada.entity.PrimaryKey.Fingerprint), PEM: ada.armored()}}, ada.id(), ""},
		"second block":       {ada.sign, []model.VerifyKey{{Name: ada.id(), PEM: append(stranger.armored(), ada.armored()...)}}, ada.id(), ""},
		"subkey of primary":  {working.sign, []model.VerifyKey{working.key()}, subkey, ""},
		"subkey by name":     {working.sign, []model.VerifyKey{{Name: strings.ToLower(subkey), PEM: working.armored()}}, subkey, ""},
		"ssh":                {signSSH, []model.VerifyKey{fingerprint}, id, ""},
		"none":               {nobody, []model.VerifyKey{ada.key()}, "", "unsigned"},
		"stranger":           {stranger.sign, []model.VerifyKey{ada.key()}, stranger.id(), "signed with key not in keyring"},
		"beside the named":   {stranger.sign, []model.VerifyKey{{Name: ada.id(), PEM: append(stranger.armored(), ada.armored()...)}}, stranger.id(), "signed with unallowed key"},
		"forged":             {func(p []byte) string { return ada.sign(append(p, 'x')) }, []model.VerifyKey{ada.key()}, ada.id(), "bad signature"},
		"garbage":            {func([]byte) string { return "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n" }, []model.VerifyKey{ada.key()}, "", "bad signature"},
		"expired key":        {expired.sign, []model.VerifyKey{expired.key()}, expired.id(), "signed with expired key"},
		"expired signature":  {brief.sign, []model.VerifyKey{ada.key()}, ada.id(), "expired signature"},
		"revoked key":        {revoked.sign, []model.VerifyKey{revoked.key()}, revoked.id(), "signed with revoked key"},
		"ssh of a stranger":  {signSSH, []model.VerifyKey{ada.key()}, id, "signed with key not in keyring"},
		"x509":               {func([]byte) string { return "-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----\n" }, []model.VerifyKey{ada.key()}, "", "signed in a way that is not supported"},
		"two in one":         {func(p []byte) string { return twice(t, ada, stranger, p) }, []model.VerifyKey{ada.key()}, "", "bad signature"},
		"endless":            {func(p []byte) string { return ada.sign(p) + strings.Repeat("A", maxSignature) }, []model.VerifyKey{ada.key()}, "", "bad signature"},
		"unreadable keyring": {ada.sign, []model.VerifyKey{{Name: ada.id(), PEM: []byte("nonsense")}}, "", "none of the trusted keys can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []model.VerifyMode{model.VerifyRevision, model.VerifyHistory} {
				r := newRepository(t)
				r.commit("a.yaml", "1")
				commit := r.signCommit(c.sign)
				srv := serve(t, r.dir)
				tree, err := openStore(t, t.TempDir(), Limits{}).Fetch(context.Background(), integrity(srv.url, mode, "main", c.keys...), nil, nil)
				if c.want != "" {
					mustFail(t, err, "InvalidCommitSignature", "Failed verifying revision "+commit, c.want, "argocd/argocd-gpg-keys-cm")
					if strings.HasPrefix(c.want, "none of") {
						continue
					}
					mustFail(t, err, "InvalidCommitSignature", "by 'Ada <ada@example.com>': ", "(key_id="+c.key+")")
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", mode, err)
				}
				want := "verified signature of\n\t- commit '" + commit + "' with key '" + c.key + "'"
				if mode == model.VerifyHistory {
					want += "\n\t- history of 1 commits with keys '" + c.key + "'"
				}
				if tree.Verified() != want || tree.Commit().Signature != c.key {
					t.Errorf("%s: %q by %q", mode, tree.Verified(), tree.Commit().Signature)
				}
			}
		})
	}
}

// twice is an armored text with two signatures.
func twice(t *testing.T, a, b *signer, payload []byte) string {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*signer{a, b} {
		if err := openpgp.DetachSign(w, s.entity, bytes.NewReader(payload), s.config); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTagsAreSignedAsArgoAsks(t *testing.T) {
	ada, stranger := newSigner(t, time.Hour, 0), newSigner(t, time.Hour, 0)
	r := newRepository(t)
	plain := r.commit("a.yaml", "1")
	tag := r.signTag("v1.0.0", "v1.0.0", plain, ada.sign) // of a commit without signature
	r.signTag("v1.1.0", "v1.0.0", plain, ada.sign)        // a good signature under another name
	r.signTag("v1.2.0", "v1.2.0", plain, stranger.sign)
	r.git("tag", "light-unsigned", plain)
	r.commit("a.yaml", "2")
	r.git("update-ref", "refs/heads/main", r.put("commit", []byte("tree "+r.git("rev-parse", "HEAD^{tree}")+"\nauthor Ada <ada@example.com> 1 +0000\ncommitter Ada <ada@example.com> 1 +0000\n\nroot\n")))
	commit := r.signCommit(ada.sign)
	r.git("tag", "light", commit)
	r.git("tag", "--annotate", "--message", "unsigned", "v2.0.0", commit)
	both := r.signTag("v3.0.0", "v3.0.0", commit, ada.sign)
	srv := serve(t, r.dir)
	store := openStore(t, t.TempDir(), Limits{})
	tagLine := func(name, tag string) string { return "tag '" + name + "@" + tag + "' with key '" + ada.id() + "'" }
	commitLine := "commit '" + commit + "' with key '" + ada.id() + "'"
	historyLine := "history of 1 commits with keys '" + ada.id() + "'"
	for _, c := range []struct {
		mode     model.VerifyMode
		revision string
		want     []string
		reason   string
	}{
		{model.VerifyRevision, "v1.0.0", []string{tagLine("v1.0.0", tag)}, ""},
		{model.VerifyRevision, "<1.1.0", []string{tagLine("v1.0.0", tag)}, ""},
		{model.VerifyRevision, "refs/tags/v1.0.0", []string{tagLine("v1.0.0", tag)}, ""},
		{model.VerifyRevision, "v1.1.0", []string{`revision v1.1.0 by 'A <a@b>': the signed tag is named "v1.0.0"`}, "InvalidTagSignature"},
		{model.VerifyRevision, "v1.2.0", []string{"revision v1.2.0", "not in keyring (key_id=" + stranger.id() + ")"}, "InvalidTagSignature"},
		{model.VerifyRevision, "v2.0.0", []string{"revision v2.0.0 by 'Ada <ada@example.com>': unsigned (key_id=)"}, "InvalidTagSignature"},
		{model.VerifyRevision, "light", []string{commitLine}, ""},
		{model.VerifyRevision, "HEAD", []string{commitLine}, ""},
		{model.VerifyRevision, commit, []string{commitLine}, ""},
		{model.VerifyRevision, commit[:9], []string{commitLine}, ""},
		{model.VerifyRevision, "light-unsigned", []string{"revision " + plain, "unsigned"}, "InvalidCommitSignature"},
		{model.VerifyRevision, plain, []string{"revision " + plain, "unsigned"}, "InvalidCommitSignature"},
		{model.VerifyHistory, "v3.0.0", []string{tagLine("v3.0.0", both), commitLine, historyLine}, ""},
		{model.VerifyHistory, "light", []string{commitLine, historyLine}, ""},
		{model.VerifyHistory, "v1.0.0", []string{"revision " + plain, "unsigned"}, "InvalidCommitSignature"},
		{model.VerifyHistory, "v2.0.0", []string{"revision v2.0.0", "unsigned"}, "InvalidTagSignature"},
	} {
		tree, err := store.Fetch(context.Background(), integrity(srv.url, c.mode, c.revision, ada.key()), nil, nil)
		switch {
		case c.reason != "":
			mustFail(t, err, c.reason, c.want...)
		case err != nil:
			t.Errorf("%s %s: %v", c.mode, c.revision, err)
		case tree.Verified() != "verified signature of\n\t- "+strings.Join(c.want, "\n\t- ") || tree.Commit().Signature != ada.id():
			t.Errorf("%s %s: %q", c.mode, c.revision, tree.Verified())
		}
	}
}

// What a signature by the git command says is read alike.
func TestKeysOfGit(t *testing.T) {
	for kind, name := range map[string]string{"pgp": "keys", "ssh": "k.sshpub"} {
		trusted, err := newTrust([]model.VerifyKey{{Name: name, PEM: fixture(t, kind+".pub")}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if found := trusted.inspectCommit(fixture(t, kind+".commit")); found.finding != goodSignature || found.key == "" {
			t.Errorf("%s: %+v", kind, found)
		}
		forged := bytes.Replace(fixture(t, kind+".commit"), []byte("signed by"), []byte("forged by"), 1)
		if found := trusted.inspectCommit(forged); found.finding != badSignature {
			t.Errorf("%s: %+v", kind, found)
		}
	}
}

// history is a repository with a commit for each word, signed or not.
type history struct {
	*repository
	t    *testing.T
	tree string
	n    int
}

func newHistory(t *testing.T) *history {
	r := newRepository(t)
	r.commit("a.yaml", "1")
	return &history{repository: r, t: t, tree: r.git("rev-parse", "HEAD^{tree}")}
}

// add makes a commit and points main at it.
func (h *history) add(sign func([]byte) string, message string, parents ...string) string {
	h.n++
	content := "tree " + h.tree + "\n"
	for _, parent := range parents {
		content += "parent " + parent + "\n"
	}
	content += fmt.Sprintf("author Bob <bob@example.com> %d +0000\ncommitter Bob <bob@example.com> %[1]d +0000\n", 1_700_000_000+h.n)
	signature := strings.TrimSpace(sign([]byte(content + "\n" + message)))
	if signature != "" {
		content += "gpgsig " + strings.ReplaceAll(signature, "\n", "\n ") + "\n"
	}
	commit := h.put("commit", []byte(content+"\n"+message))
	h.git("update-ref", "refs/heads/main", commit)
	return commit
}

const sealing = "vouched for\n\nargocd-GPG-seal: reviewed\n"

func TestHistoryIsVerified(t *testing.T) {
	ada, bob, stranger := newSigner(t, time.Hour, 0), newSigner(t, time.Hour, 0), newSigner(t, time.Hour, 0)
	for name, c := range map[string]struct {
		build func(h *history) (blamed []string)
		count int
	}{
		"two signers": {func(h *history) []string {
			h.add(ada.sign, "2", h.add(bob.sign, "1"))
			return nil
		}, 2},
		"unsigned below": {func(h *history) []string {
			root := h.add(nobody, "1")
			h.add(ada.sign, "3", h.add(ada.sign, "2", root))
			return []string{root + " by 'Bob <bob@example.com>': unsigned (key_id=)"}
		}, 0},
		"a stranger is told of once": {func(h *history) []string {
			first := h.add(stranger.sign, "1")
			second := h.add(stranger.sign, "2", first)
			h.add(ada.sign, "3", second)
			return []string{second + " by 'Bob <bob@example.com>': signed with key not in keyring (key_id=" + stranger.id() + ")"}
		}, 0},
		"seal": {func(h *history) []string {
			h.add(ada.sign, "3", h.add(bob.sign, sealing, h.add(nobody, "1")))
			return nil
		}, 2},
		"on a seal": {func(h *history) []string {
			h.add(bob.sign, sealing, h.add(nobody, "1"))
			return nil
		}, -1},
		"unsigned seal": {func(h *history) []string {
			one := h.add(nobody, "1")
			two := h.add(nobody, sealing, one)
			h.add(ada.sign, "3", two)
			return []string{one, two}
		}, 0},
		"stranger's seal": {func(h *history) []string {
			seal := h.add(stranger.sign, sealing, h.add(ada.sign, "1"))
			h.add(ada.sign, "3", seal)
			return []string{seal}
		}, 0},
		"unsigned above a seal": {func(h *history) []string {
			one := h.add(nobody, "2", h.add(ada.sign, sealing, h.add(nobody, "1")))
			h.add(ada.sign, "3", one)
			return []string{one}
		}, 0},
		"unsigned side of a merge": {func(h *history) []string {
			root := h.add(ada.sign, "1")
			side := h.add(nobody, "side", root)
			h.add(ada.sign, "merge", h.add(ada.sign, "2", root), side)
			return []string{side}
		}, 0},
		"merged past a seal": {func(h *history) []string {
			fork := h.add(ada.sign, "2", h.add(nobody, "1"))
			side := h.add(bob.sign, "side", fork)
			h.add(ada.sign, "merge", h.add(ada.sign, sealing, fork), side)
			return nil
		}, 4},
		"merged past a seal, from an unsigned one": {func(h *history) []string {
			fork := h.add(nobody, "1")
			side := h.add(bob.sign, "side", fork)
			h.add(ada.sign, "merge", h.add(ada.sign, sealing, fork), side)
			return []string{fork}
		}, 0},
		"ten of many": {func(h *history) []string {
			at := h.add(nobody, "0")
			for i := range 20 {
				at = h.add(nobody, fmt.Sprint(i), at)
			}
			h.add(ada.sign, "head", at)
			return slices.Repeat([]string{"unsigned"}, maxProblems)
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, filter := range []string{"true", "false"} {
				h := newHistory(t)
				h.git("config", "uploadpack.allowFilter", filter)
				blamed := c.build(h)
				srv := serve(t, h.dir)
				tree, err := openStore(t, t.TempDir(), Limits{}).Fetch(context.Background(), integrity(srv.url, model.VerifyHistory, "main", ada.key(), bob.key()), nil, nil)
				if len(blamed) > 0 {
					mustFail(t, err, "InvalidCommitSignature", append(blamed, sealTrailer)...)
					if lines := strings.Split(faultOf(t, err).Message, "\n"); len(lines) != len(blamed) {
						t.Errorf("%d problems: %s", len(lines), lines)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if c.count < 0 {
					if strings.Contains(tree.Verified(), "history") {
						t.Errorf("%q", tree.Verified())
					}
				} else if !strings.Contains(tree.Verified(), fmt.Sprintf("history of %d commits", c.count)) {
					t.Errorf("%q", tree.Verified())
				}
			}
		})
	}
}

// TestHistoryIsWhatGitLists compares with what argo-cd makes git list: all
// commits up to the seals, and those where they branch off. The heads are
// fetched one after the other, so that each starts from what was verified.
func TestHistoryIsWhatGitLists(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ada := newSigner(t, time.Hour, 0)
	h := newHistory(t)
	h.git("config", "uploadpack.allowFilter", "true")
	srv := serve(t, h.dir)
	kept, accepted, refused, spared := openStore(t, t.TempDir(), Limits{}), 0, 0, 0
	for range 12 {
		var commits []string
		good, seal := map[string]bool{}, map[string]bool{}
		var last *Tree
		for i := range 9 {
			var parents []string
			for _, at := range random.Perm(len(commits))[:min(len(commits), 1+random.IntN(2))] {
				parents = append(parents, commits[at])
			}
			if i > 0 && random.IntN(2) == 0 {
				parents[0] = commits[i-1]
			}
			parents = slices.Compact(parents)
			sign, message := nobody, fmt.Sprint("change ", i)
			signs, claims := random.IntN(6) > 0, random.IntN(4) == 0
			if signs {
				sign = ada.sign
			}
			if claims {
				message = sealing
			}
			commit := h.add(sign, message, parents...)
			commits = append(commits, commit)
			good[commit], seal[commit] = signs, signs && claims

			args := []string{"rev-list", "--boundary", commit, "--not"}
			for _, other := range strings.Fields(h.git("rev-list", commit)) {
				if seal[other] {
					args = append(args, other)
				}
			}
			listed := strings.Fields(strings.ReplaceAll(h.git(args...), "-", ""))
			if seal[commit] {
				listed = []string{commit}
			}
			want := !slices.ContainsFunc(listed, func(c string) bool { return !good[c] })

			spec := integrity(srv.url, model.VerifyHistory, "main", ada.key())
			tree, err := kept.Fetch(context.Background(), spec, nil, last)
			if (err == nil) != want {
				t.Fatalf("commit %d of %v: accepted %t, git lists %v: %v", i, commits, err == nil, listed, err)
			}
			if err != nil {
				refused++
				continue
			}
			accepted++
			if len(listed) < len(strings.Fields(h.git("rev-list", commit))) {
				spared++
			}
			last = tree
		}
	}
	if accepted < 20 || refused < 20 || spared < 5 {
		t.Errorf("the cases are too much alike: %d accepted, %d refused, %d with commits that are not looked at", accepted, refused, spared)
	}
}

func TestOnlyNewHistoryIsFetched(t *testing.T) {
	ada := newSigner(t, time.Hour, 0)
	h := newHistory(t)
	at := h.add(ada.sign, "1")
	for i := range 50 {
		at = h.add(ada.sign, fmt.Sprint(i), at)
	}
	srv := serve(t, h.dir)
	store := openStore(t, t.TempDir(), Limits{})
	spec := integrity(srv.url, model.VerifyHistory, "main", ada.key())
	tree := mustFetch(t, store, spec, nil)
	if !strings.Contains(tree.Verified(), "history of 51 commits") {
		t.Errorf("%q", tree.Verified())
	}
	whole := srv.sent.Load()
	at = h.add(ada.sign, "new", at)
	tree = mustFetch(t, store, spec, tree)
	if !strings.Contains(tree.Verified(), "history of 52 commits") {
		t.Errorf("%q", tree.Verified())
	}
	if sent := srv.sent.Load() - whole; sent > whole/4 {
		t.Errorf("%d bytes for one more commit, %d for all", sent, whole)
	}

	// With other keys everything is looked at again, and so is the way to a head
	// that does not descend from what was verified.
	other := newSigner(t, time.Hour, 0)
	spec.Git.Verify.Keys = []model.VerifyKey{other.key()}
	_, err := store.Fetch(context.Background(), spec, nil, tree)
	mustFail(t, err, "InvalidCommitSignature", at, "not in keyring")
	spec.Git.Verify.Keys = []model.VerifyKey{ada.key()}
	h.add(ada.sign, "elsewhere", h.add(nobody, "unsigned"))
	_, err = store.Fetch(context.Background(), spec, nil, tree)
	mustFail(t, err, "InvalidCommitSignature", "unsigned")

	// A commit in the middle is named by its hash, and has a history too.
	middle := h.git("rev-parse", at+"~20")
	h.git("update-ref", "refs/heads/main", at)
	tree = mustFetch(t, store, integrity(srv.url, model.VerifyHistory, middle, ada.key()), nil)
	if !strings.Contains(tree.Verified(), "history of 32 commits") {
		t.Errorf("%q", tree.Verified())
	}
	if _, err := store.Recall(context.Background(), spec, nil, at); err == nil || !strings.Contains(err.Error(), "asking the remote") {
		t.Errorf("recalled: %v", err)
	}
	spec.Git.Verify.Mode = model.VerifyRevision
	if _, err := store.Recall(context.Background(), spec, nil, at); err == nil {
		t.Error("a name that may be a tag's is recalled")
	}
	spec.Git.Ref.Revision = at
	if _, err := store.Recall(context.Background(), spec, nil, at); err != nil {
		t.Errorf("a commit named by its hash is not recalled: %v", err)
	}
}

// A seal on one branch vouches for nothing on another, whatever was merged and
// verified before.
func TestApprovalIsOfOneHead(t *testing.T) {
	ada := newSigner(t, time.Hour, 0)
	h := newHistory(t)
	first := h.add(nobody, "first")
	fork := h.add(ada.sign, "fork", first)
	side := h.add(ada.sign, "side", fork)
	h.add(ada.sign, "merge", h.add(ada.sign, sealing, fork), side)
	srv := serve(t, h.dir)
	store := openStore(t, t.TempDir(), Limits{})
	spec := integrity(srv.url, model.VerifyHistory, "main", ada.key())
	tree := mustFetch(t, store, spec, nil)
	h.git("update-ref", "refs/heads/main", side)
	_, err := store.Fetch(context.Background(), spec, nil, tree)
	mustFail(t, err, "InvalidCommitSignature", first, "unsigned")
	h.add(ada.sign, "beside", side)
	_, err = store.Fetch(context.Background(), spec, nil, tree)
	mustFail(t, err, "InvalidCommitSignature", first, "unsigned")
}

func TestApprovalEndsWithItsKeys(t *testing.T) {
	ada := newSigner(t, time.Hour, 2*time.Hour)
	trusted, err := newTrust([]model.VerifyKey{ada.key()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	end := time.Until(trusted.until)
	if end < 50*time.Minute || end > 70*time.Minute {
		t.Errorf("the key expires in %s", end)
	}
	brief := ada.as(packet.Config{SigLifetimeSecs: 4000})
	if found := trusted.inspect([]byte("x"), brief.sign([]byte("x"))); found.finding != goodSignature || time.Until(found.until) > 10*time.Minute {
		t.Errorf("the signature: %+v", found)
	}
	m, r := &mirror{depot: &depot{}, approved: map[object.ID]*approval{}}, &run{}
	m.approved[r.spec.ID] = &approval{digest: trusted.digest, until: trusted.until}
	if m.approvalFor(r, trusted) == nil {
		t.Error("what was verified is forgotten")
	}
	trusted.now = trusted.until.Add(time.Second)
	if m.approvalFor(r, trusted) != nil {
		t.Error("what was verified outlives the key")
	}
	if sooner(time.Time{}, end0(3)) != end0(3) || sooner(end0(3), time.Time{}) != end0(3) || sooner(end0(2), end0(3)) != end0(2) || sooner(end0(3), end0(2)) != end0(2) {
		t.Error("the sooner of two times")
	}
}

func end0(second int64) time.Time { return time.Unix(second, 0) }

func TestHistoryIsBounded(t *testing.T) {
	ada := newSigner(t, time.Hour, 0)
	h := newHistory(t)
	at := h.add(ada.sign, "1")
	for i := range 5 {
		at = h.add(ada.sign, fmt.Sprint(i), at)
	}
	srv := serve(t, h.dir)
	_, err := openStore(t, t.TempDir(), Limits{History: 5}).Fetch(context.Background(), integrity(srv.url, model.VerifyHistory, "main", ada.key()), nil, nil)
	mustFail(t, err, "InvalidCommitSignature", "more than 5 commits", sealTrailer)
	if _, err := openStore(t, t.TempDir(), Limits{History: 6}).Fetch(context.Background(), integrity(srv.url, model.VerifyHistory, "main", ada.key()), nil, nil); err != nil {
		t.Error(err)
	}

	// No signature is checked once the time is over.
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errStalled)
	l := &lineage{from: &unpacker{ctx: ctx}, commits: []ancestor{{hash: plumbing.NewHash(at)}}}
	if _, err := l.content(0); err == nil || !strings.Contains(err.Error(), errStalled.Error()) {
		t.Errorf("read on: %v", err)
	}

	// A server that holds but a part of the history.
	shallow := newRepository(t)
	shallow.git("fetch", "--quiet", "--depth=3", "file://"+h.dir, "main:refs/heads/part")
	shallow.git("update-ref", "refs/heads/main", "part")
	srv = serve(t, shallow.dir)
	_, err = openStore(t, t.TempDir(), Limits{}).Fetch(context.Background(), integrity(srv.url, model.VerifyHistory, "main", ada.key()), nil, nil)
	mustFail(t, err, "InvalidCommitSignature", "the server did not send commit "+h.git("rev-parse", at+"~3"))
	if !faultOf(t, err).Retry {
		t.Error("it is not tried again")
	}
}

func TestNamesInMessagesAreTamed(t *testing.T) {
	content := []byte("tree x\nauthor " + strings.Repeat("é", 80) + "\x1b[31m <a@b> 1 +0000\n\nm")
	got := identity(content, "author")
	if len(got) > maxIdentity+len("…") || strings.ContainsRune(got, 0x1b) || !strings.HasPrefix(got, "éé") {
		t.Errorf("%q", got)
	}
	if got := identity([]byte("author A\x1b <a@b> 1 +0000\n\nm"), "author"); got != "A? <a@b>" {
		t.Errorf("%q", got)
	}
}
