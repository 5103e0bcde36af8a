package scenario

import (
	"os"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"

	"plumb.dev/plumb/scenario/stage"
)

// sopsEncrypt encrypts files with the age key of a name, which is made when it
// is named first.
func sopsEncrypt(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) < 1 {
		return errUsage
	}
	if s.known[args[0]] == "" {
		made, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		s.learn(ts, args[0], made.String())
	}
	identity, err := age.ParseX25519Identity(s.known[args[0]])
	if err != nil {
		return err
	}
	for _, file := range args[1:] {
		// What it says of the story is said before: nothing in it may change afterwards.
		if err := os.WriteFile(ts.MkAbs(file), []byte(s.fill(ts.ReadFile(file))), 0o600); err != nil {
			return err
		}
		if err := stage.Seal(ts.MkAbs(file), identity); err != nil {
			return err
		}
	}
	return nil
}
