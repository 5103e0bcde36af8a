package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/scenario/stage"
)

// tool is a program that make has built for the stories: the one that a variable
// names, or the one in bin/tools.
func tool(variable, name string) (string, error) {
	program := os.Getenv(variable)
	if program == "" {
		program = filepath.Join("..", "bin", "tools", name)
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("there is no %s: make bin/tools/%s (%w)", name, name, err)
	}
	return program, nil
}

// argocdCall is one call of Argo CD's own command line.
type argocdCall struct {
	args, env []string
	in        string // file for its standard input
	exit      int    // that it is to end with; -1: any but 0 where the word is negated
}

// argocdArgs reads [as USER | as file:TOKEN | -context] [-exit CODE] [-in FILE] ARG...
func argocdArgs(ctx context.Context, ts *testscript.TestScript, s *story, args []string) (*argocdCall, error) {
	user := "admin"
	if len(args) > 1 && args[0] == "as" {
		user, args = args[1], args[2:]
		if file, ok := strings.CutPrefix(user, "file:"); ok {
			user = "token:" + strings.TrimSpace(ts.ReadFile(file))
		}
	}
	c := &argocdCall{exit: -1}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch option := args[0]; {
		case option == "-context":
			user, args = "", args[1:]
		case option == "-exit" && len(args) > 1:
			code, err := strconv.Atoi(args[1])
			if err != nil {
				return nil, errUsage
			}
			c.exit, args = code, args[2:]
		case option == "-in" && len(args) > 1:
			c.in, args = s.fill(ts.ReadFile(args[1])), args[2:]
		default:
			return nil, errUsage
		}
	}
	if len(args) == 0 {
		return nil, errUsage
	}
	for _, arg := range args {
		if !strings.HasSuffix(arg, ".yaml") {
			continue
		}
		if err := os.WriteFile(ts.MkAbs(arg), []byte(s.fill(ts.ReadFile(arg))), 0o600); err != nil {
			return nil, err
		}
	}
	program, err := tool("PLUMB_ARGOCD", "argocd")
	if err != nil {
		return nil, err
	}
	th, err := s.stage()
	if err != nil {
		return nil, err
	}
	main := th.controller("main")
	if main == nil {
		return nil, errors.New("no controller runs")
	}
	s.learn(ts, "SERVER", main.api)
	c.env = []string{
		"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"),
		"KUBECONFIG=" + th.plane.Kubeconfig(), "ARGOCD_BINARY_NAME=argocd",
	}
	config := "config"
	if user != "" {
		config = "none" // nothing that was written down counts
	}
	if args[0] == "login" {
		args = slices.Concat(args[:1], []string{main.api}, args[1:])
	} else if user != "" {
		api, err := s.server(ctx, user)
		if err != nil {
			return nil, err
		}
		c.env = append(c.env, "ARGOCD_SERVER="+main.api, "ARGOCD_AUTH_TOKEN="+api.Token)
		if !main.secured() {
			c.env = append(c.env, "ARGOCD_OPTS=--plaintext")
		}
	}
	c.args = slices.Concat([]string{program}, args, []string{"--config", filepath.Join(s.work, ".argocd", config)})
	return c, nil
}

// secured reports whether a controller serves by TLS.
func (c *controller) secured() bool {
	return slices.ContainsFunc(c.flags, func(flag string) bool { return strings.HasPrefix(flag, "--tls-cert-file") })
}

// argocdWord runs Argo CD's own command line against the server.
func argocdWord(ts *testscript.TestScript, negated bool, args []string) {
	s := of(ts)
	ctx, done := limit(awaitLimit)
	defer done()
	_ = ts.Stdout()
	c, err := argocdArgs(ctx, ts, s, args)
	ts.Check(err)
	command := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	command.Dir, command.Env, command.Stdin = ts.MkAbs("."), c.env, strings.NewReader(c.in)
	var out, complaint strings.Builder
	command.Stdout, command.Stderr = &out, &complaint
	err = command.Run()
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), complaint.String())
	code := 0
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() > 0:
		code = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v, %v\n%s%s", err, ctx.Err(), out.String(), complaint.String())
	}
	switch {
	case c.exit >= 0 && code == c.exit:
	case c.exit >= 0 || (code == 0) == negated:
		ts.Fatalf("it has ended with code %d\n%s%s%s", code, out.String(), complaint.String(), s.lastWords())
	}
}

// lastWords are the last things that the server said.
func (s *story) lastWords() string {
	if c := s.th.controller("main"); c != nil {
		return "\n" + c.log.Tail(20)
	}
	return ""
}

// argocdBegin runs it while the story goes on.
func argocdBegin(ts *testscript.TestScript, s *story, args []string) error {
	ctx, done := limit(awaitLimit)
	defer done()
	c, err := argocdArgs(ctx, ts, s, args)
	if err != nil {
		return err
	}
	return s.begin(c)
}

// begin starts a call, in the place of the one before.
func (s *story) begin(c *argocdCall) error {
	s.endCall()
	s.callSaid = stage.NewLog(nil)
	var err error
	s.call, err = stage.Start(stage.Command{Name: "argocd", Args: c.args, Env: c.env, Log: s.callSaid})
	if err == nil {
		s.cleanups(s.endCall)
	}
	return err
}

func (s *story) endCall() {
	if s.call != nil {
		s.call.Kill()
	}
}

// awaitArgocd waits until what it prints has all of it.
func awaitArgocd(ts *testscript.TestScript, s *story, args []string) error {
	if s.call == nil || len(args) == 0 {
		return errUsage
	}
	ctx, done := limit(awaitLimit)
	defer done()
	for _, text := range args {
		if _, err := s.called(ctx, s.fill(text)); err != nil {
			return err
		}
	}
	fmt.Fprint(ts.Stdout(), s.callSaid.String())
	return nil
}

// called waits until the call has printed something, and returns what a group of
// the pattern matches.
func (s *story) called(ctx context.Context, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	found := ""
	err = poll(ctx, func() error {
		groups := re.FindStringSubmatch(s.callSaid.String())
		if groups == nil {
			return fmt.Errorf("nothing that it prints matches %s:\n%s", re, s.callSaid)
		}
		found = groups[len(groups)-1]
		return nil
	})
	return found, err
}

// argocdEnds waits for the end of the call that goes on, which has to be this.
func argocdEnds(ts *testscript.TestScript, s *story, args []string) error {
	if s.call == nil || len(args) > 1 {
		return errUsage
	}
	want := append(args, "0")[0]
	ctx, done := limit(awaitLimit)
	defer done()
	select {
	case <-s.call.Done():
	case <-ctx.Done():
		return fmt.Errorf("it goes on; it said:\n%s", s.callSaid)
	}
	fmt.Fprint(ts.Stdout(), s.callSaid.String())
	if got := strconv.Itoa(s.call.ExitCode()); got != want {
		return fmt.Errorf("it has ended with code %s; it said:\n%s", got, s.callSaid)
	}
	return nil
}

// dexWord starts an identity provider with people, each EMAIL=GROUP,GROUP...
func dexWord(ts *testscript.TestScript, s *story, args []string) error {
	program, err := tool("PLUMB_DEX", "dex")
	if err != nil {
		return err
	}
	var people []stage.Person
	for _, arg := range args {
		email, groups, _ := strings.Cut(arg, "=")
		people = append(people, stage.Person{Email: email, Groups: strings.Split(groups, ",")})
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(stage.DexPassword), bcrypt.DefaultCost) // which is as cheap as Dex takes
	if err != nil {
		return err
	}
	ctx, done := limit(startLimit)
	defer done()
	if s.dex, err = stage.StartDex(ctx, program, filepath.Join(s.work, ".dex"), hash, people); err != nil {
		return err
	}
	s.cleanups(s.dex.Close)
	s.learn(ts, "DEX_URL", s.dex.Issuer())
	return nil
}

// argocdSSO signs somebody in by the browser, as argocd login --sso or relogin
// asks for.
func argocdSSO(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) < 2 || s.dex == nil {
		return errUsage
	}
	ctx, done := limit(awaitLimit)
	defer done()
	port, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, _ = strings.Cut(port, ":")
	c, err := argocdArgs(ctx, ts, s, slices.Concat([]string{"-context"}, args[1:], []string{"--sso-launch-browser=false", "--sso-port", port}))
	if err != nil {
		return err
	}
	if err := s.begin(c); err != nil {
		return err
	}
	address, err := s.called(ctx, `(http://\S+/auth\?\S+)`)
	if err != nil {
		return err
	}
	// It prints where to go before it listens to whoever comes back.
	err = poll(ctx, func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("localhost", port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err == nil {
		err = s.dex.SignIn(ctx, address, args[0])
	}
	if err != nil {
		return fmt.Errorf("%w; argocd said:\n%s", err, s.callSaid)
	}
	return argocdEnds(ts, s, nil)
}

// certificateWord makes a certificate that is signed by itself, for loopback.
func certificateWord(ts *testscript.TestScript, _ *story, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	certificate, key, err := stage.SelfSigned()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(ts.MkAbs(args[0]), certificate, 0o600), os.WriteFile(ts.MkAbs(args[1]), key, 0o600))
}
