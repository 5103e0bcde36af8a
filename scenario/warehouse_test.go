package scenario

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"plumb.dev/plumb/internal/source/registry/signtest"
	"plumb.dev/plumb/scenario/stage"
)

// store is the story's warehouse; its addresses are known from then on.
func (s *story) store(ts *testscript.TestScript) (*stage.Warehouse, error) {
	if s.warehouse == nil {
		warehouse, err := stage.NewWarehouse()
		if err != nil {
			return nil, err
		}
		s.warehouse = warehouse
		s.cleanups(warehouse.Close)
		s.learn(ts, "REGISTRY", warehouse.Host())
		s.learn(ts, "CHARTS_URL", warehouse.Charts())
	}
	return s.warehouse, nil
}

// filled replaces the names that the story knows in a file, unless it is none of
// text.
func (s *story) filled(text []byte) []byte {
	if !utf8.Valid(text) {
		return text
	}
	return []byte(s.fill(string(text)))
}

// packFiles makes an archive of a directory, as a file of the story.
func packFiles(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	archive, err := stage.Pack(ts.MkAbs(args[1]), "", s.filled)
	if err != nil {
		return err
	}
	file := ts.MkAbs(args[0])
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, archive, 0o600)
}

func pushChart(ts *testscript.TestScript, s *story, args []string) error {
	warehouse, err := s.store(ts)
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	for _, dir := range args {
		if err := warehouse.PushChart(ctx, ts.MkAbs(dir), s.filled); err != nil {
			return err
		}
	}
	return nil
}

func pushArtifact(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) < 2 || !strings.Contains(args[0], ":") {
		return errUsage
	}
	warehouse, err := s.store(ts)
	if err != nil {
		return err
	}
	var layers []stage.Layer
	for _, arg := range args[1:] {
		mediaType, dir, typed := strings.Cut(arg, "=")
		if !typed {
			mediaType, dir = stage.FluxLayer, arg
		}
		layers = append(layers, stage.Layer{MediaType: mediaType, Dir: ts.MkAbs(dir)})
	}
	ctx, done := limit(awaitLimit)
	defer done()
	digest, err := warehouse.PushArtifact(ctx, args[0], "main@"+args[1], layers, s.filled)
	s.learn(ts, "DIGEST", digest)
	return err
}

// signingIssuer vouches for everybody who signs without a key.
const signingIssuer = "https://issuer.example.com"

// signArtifact signs as somebody, and learns what verifiers have to know.
func signArtifact(ts *testscript.TestScript, s *story, args []string) error {
	opts, args := options(args, "-keyless")
	if len(args) != 2 {
		return errUsage
	}
	warehouse, err := s.store(ts)
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	var public []byte
	subject, keyless := opts["-keyless"]
	_, bundle := opts["-bundle"]
	_, byNotation := opts["-notation"]
	switch {
	case keyless:
		public, err = warehouse.SignKeyless(ctx, args[1], args[0], signtest.Signer{Subject: subject, Issuer: signingIssuer}, bundle)
	case byNotation:
		public, err = warehouse.SignNotation(ctx, args[1], args[0])
	default:
		public, err = warehouse.Sign(ctx, args[1], args[0])
	}
	s.learn(ts, args[0], base64.StdEncoding.EncodeToString(public))
	return err
}

func fillBucket(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	warehouse, err := s.store(ts)
	if err != nil {
		return err
	}
	return warehouse.FillBucket(ts.MkAbs(args[0]), s.filled)
}

func warehouseWord(ts *testscript.TestScript, s *story, args []string) error {
	warehouse, err := s.store(ts)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 0:
	case len(args) == 1 && args[0] == "well":
		warehouse.Break(false)
		warehouse.Guard("", "")
	case len(args) == 1 && args[0] == "broken":
		warehouse.Break(true)
	case len(args) == 3 && args[0] == "private":
		warehouse.Guard(args[1], args[2])
	case len(args) == 2 && args[0] == "asked":
		fmt.Fprintln(ts.Stdout(), warehouse.Asked(args[1]))
	default:
		return errUsage
	}
	return nil
}

// downloadWord gets the artifact that a source's status tells of, and the newest
// one where it tells of that, which have to be the same.
func downloadWord(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	digest, err := read(s, args[0], ".status.artifact.digest")
	if err != nil {
		return err
	}
	var holds string
	for _, path := range []string{".status.url", ".status.artifact.url"} {
		url, err := read(s, args[0], path)
		if err != nil {
			return err
		}
		if url == "" && path == ".status.url" { // the status of an ExternalArtifact has none
			continue
		}
		ctx, done := limit(awaitLimit)
		got, content, err := stage.Download(ctx, url)
		done()
		if err != nil {
			return err
		}
		if got != digest {
			return fmt.Errorf("%s has the digest %s, not %s", url, got, digest)
		}
		holds = content
	}
	fmt.Fprintln(ts.Stdout(), holds)
	return nil
}
