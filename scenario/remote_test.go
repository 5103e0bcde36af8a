package scenario

import (
	"errors"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// plumbLogin signs in with the command line, as somebody at a terminal does.
func plumbLogin(ts *testscript.TestScript, negated bool, args []string) {
	s := of(ts)
	if len(args) == 0 {
		ts.Check(errUsage)
	}
	user, rest := args[0], args[1:]
	ctx, done := limit(awaitLimit)
	defer done()
	api, err := s.server(ctx, user) // which waits until the server knows them
	ts.Check(err)
	login := append([]string{"login", "http://" + api.Address}, rest...)
	switch {
	case strings.HasPrefix(user, "serviceaccount/"):
		runPlumb(ts, negated, "", append(login, "--token", api.Token))
	case user == "admin":
		th, err := s.stage()
		ts.Check(err)
		_, password, err := th.firstPassword(ctx)
		ts.Check(err)
		runPlumb(ts, negated, password+"\n", append(login, "--username", user, "--password-stdin"))
	default:
		runPlumb(ts, negated, accountPassword+"\n", append(login, "--username", user+"-"+s.known["NS"], "--password-stdin"))
	}
}

// plumbSSO signs somebody in by the browser that the command line asks for.
func plumbSSO(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) == 0 || s.dex == nil {
		return errUsage
	}
	th, err := s.stage()
	if err != nil {
		return err
	}
	main := th.controller("main")
	if main == nil {
		return errors.New("no controller runs")
	}
	self, err := program()
	if err != nil {
		return err
	}
	ctx, done := limit(awaitLimit)
	defer done()
	login := []string{self, "login", "http://" + main.api, "--sso", "--sso-launch-browser=false", "--sso-port=0"}
	err = s.begin(&argocdCall{args: slices.Concat(login, args[1:]), env: plumbEnvironment(ts, s, th)})
	if err != nil {
		return err
	}
	address, err := s.called(ctx, `(http://\S+/auth\?\S+)`)
	if err != nil {
		return err
	}
	if err := s.dex.SignIn(ctx, address, args[0]); err != nil {
		return err
	}
	return argocdEnds(ts, s, nil)
}
