package decryption

import (
	"slices"
	"testing"

	"plumb.dev/plumb/internal/model"
)

// TestKeys: the names of entries say which are keys.
func TestKeys(t *testing.T) {
	data := map[string][]byte{"b.agekey": []byte("1"), "a.asc": []byte("2"), "sops.aws-kms": []byte("3"), "aws-kms": []byte("4"), "password": []byte("5"), "sops.vault-token.bak": []byte("6")}
	for ageOnly, want := range map[bool][]string{false: {"a.asc", "b.agekey", "sops.aws-kms"}, true: {"b.agekey"}} {
		var got []string
		for _, key := range Keys(data, ageOnly) {
			got = append(got, key.Name)
			if string(key.Value.Reveal()) != string(data[key.Name]) {
				t.Errorf("%s has another value", key.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("age alone %t: got %v, want %v", ageOnly, got, want)
		}
	}
}

// TestDecryptionDigests: no two sets of keys are taken for each other.
func TestDecryptionDigests(t *testing.T) {
	key := func(name, value string) model.DecryptionKey {
		return model.DecryptionKey{Name: name, Value: model.NewSecret([]byte(value))}
	}
	seen := map[string]int{}
	for i, d := range []model.Decryption{
		{},
		{Keys: []model.DecryptionKey{key("a", "bc")}},
		{Keys: []model.DecryptionKey{key("ab", "c")}},
		{Keys: []model.DecryptionKey{key("a", "b"), key("c", "")}},
		{Workload: &model.WorkloadIdentity{}},
		{Workload: &model.WorkloadIdentity{Account: "a", Namespace: "b"}},
		{Workload: &model.WorkloadIdentity{Account: "b", Namespace: "a"}},
		{Workload: &model.WorkloadIdentity{Account: "a", Namespace: "b", Annotations: map[string]string{"x": "y"}}},
	} {
		digest := Digest(&d)
		if before, twice := seen[digest]; twice {
			t.Errorf("%d has the digest of %d", i, before)
		}
		seen[digest] = i
	}
}
