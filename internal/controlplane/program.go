package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// handshakeLimit bounds the question for the version; a program that large
// takes a while to load from a cold disk.
const handshakeLimit = 30 * time.Second

// Find returns the path of the program: beside this one, then where
// $PLUMB_CONTROLPLANE says, then in the bin directory of the checkout of Plumb
// around the working directory, then on the PATH.
func Find() (string, error) {
	if self, err := os.Executable(); err == nil {
		if path, ok := besides(self); ok {
			return path, nil
		}
	}
	if path := os.Getenv(ProgramVariable); path != "" {
		if !isProgram(path) {
			return "", fmt.Errorf("%w: $%s says %s, which is no program; correct it, or build one with\n  %s", ErrMissing, ProgramVariable, path, BuildCommand)
		}
		return filepath.Abs(path)
	}
	if directory, err := os.Getwd(); err == nil {
		if path, ok := inCheckout(directory); ok {
			return path, nil
		}
	}
	if path, err := exec.LookPath(ProgramName); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("%w: it is neither beside plumb nor on the PATH; build it in a checkout of Plumb (once, several minutes) with\n  %s\nor let $%s point at it", ErrMissing, BuildCommand, ProgramVariable)
}

// Handshake asks a program for its version and refuses one that speaks another
// protocol.
func Handshake(ctx context.Context, program string) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	command := exec.CommandContext(ctx, program, "version", "-o", "json")
	// A grandchild that keeps the output open must not keep us waiting.
	command.WaitDelay = time.Second
	output, err := command.Output()
	if err != nil && ctx.Err() != nil {
		return Version{}, fmt.Errorf("ask %s for its version: %w", program, context.Cause(ctx))
	}
	if err != nil {
		return Version{}, fmt.Errorf("ask %s for its version: %w%s; build it anew with\n  %s", program, err, stderrOf(err), BuildCommand)
	}
	var version Version
	if err := json.Unmarshal(output, &version); err != nil {
		return Version{}, fmt.Errorf("%w: %s does not say its version (%w); build it anew with\n  %s", ErrProtocol, program, err, BuildCommand)
	}
	if version.Protocol != Protocol {
		return version, fmt.Errorf("%w: %s speaks protocol %d, and this plumb speaks %d; build it anew with\n  %s", ErrProtocol, program, version.Protocol, Protocol, BuildCommand)
	}
	return version, nil
}

// besides looks next to this program, through symbolic links if need be.
func besides(self string) (string, bool) {
	candidates := []string{self}
	if resolved, err := filepath.EvalSymlinks(self); err == nil && resolved != self {
		candidates = append(candidates, resolved)
	}
	for _, candidate := range candidates {
		if path := filepath.Join(filepath.Dir(candidate), ProgramName); isProgram(path) {
			return path, true
		}
	}
	return "", false
}

// inCheckout looks from a directory upwards for a checkout of Plumb. Nothing
// else is run from there: the working directory may be anybody's repository.
func inCheckout(directory string) (string, bool) {
	for {
		path := filepath.Join(directory, "bin", ProgramName)
		if isProgram(path) && isPlumb(filepath.Join(directory, "go.mod")) {
			return path, true
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", false
		}
		directory = parent
	}
}

var plumbModule = regexp.MustCompile(`(?m)^module plumb\.dev/plumb$`)

func isPlumb(goMod string) bool {
	text, err := os.ReadFile(goMod)
	return err == nil && plumbModule.Match(text)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) || len(exit.Stderr) == 0 {
		return ""
	}
	return " (" + strings.TrimSpace(string(bytes.ToValidUTF8(exit.Stderr, nil))) + ")"
}
