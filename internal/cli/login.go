package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"plumb.dev/plumb/internal/api/client"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/cli/logins"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin/loopback"
)

// loginFlags say how somebody signs in.
type loginFlags struct {
	name string

	username, password string
	passwordStdin      bool
	sso                bool
	ssoPort            int
	ssoLaunch          bool
	token              string
	kubernetes         bool

	authority, fingerprint string
	insecure, plaintext    bool
}

func (a *app) loginCommand() *cobra.Command {
	flags := &loginFlags{}
	login := &cobra.Command{
		Use:   "login SERVER",
		Short: "Sign in to a server of Plumb, and ask it from then on",
		Long: `Sign in to a server of Plumb. From then on commands ask that server instead of
the cluster of the kubeconfig, with the rights that it grants: plumb context says
which one is in use, and --plumb-server kubeconfig asks the cluster all the same.

Without a flag that says how, the command asks for a name and a password or, where
the server knows single sign-on only, opens the browser. What it keeps lies in
~/.config/plumb/logins.yaml (or below XDG_CONFIG_HOME), readable by you alone.`,
		Example: `  # With a name and a password, which is asked for
  plumb login plumb.example.org --username ann

  # By the identity provider, in the browser
  plumb login plumb.example.org --sso

  # In a pipeline, with a token of a project's role or of an account
  PLUMB_AUTH_TOKEN=... plumb login plumb.example.org --name prod

  # As who the kubeconfig says
  plumb login plumb.example.org --kubernetes

  # What plumb up has started
  plumb login http://127.0.0.1:8480 --username admin`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.login(ctx, args[0], *flags)
		},
	}
	set := login.Flags()
	set.StringVar(&flags.name, "name", "", "call the login so; the server's host is the default")
	set.StringVar(&flags.username, "username", "", "sign in with this name and a password")
	set.StringVar(&flags.password, "password", "", "the password; other programs may see it: --password-stdin is better")
	set.BoolVar(&flags.passwordStdin, "password-stdin", false, "read the password from standard input")
	set.BoolVar(&flags.sso, "sso", false, "sign in at the server's identity provider, in the browser")
	set.IntVar(&flags.ssoPort, "sso-port", loopback.DefaultPort, "port of this machine that the browser comes back to")
	set.BoolVar(&flags.ssoLaunch, "sso-launch-browser", true, "open the browser; without it the address is printed")
	set.StringVar(&flags.token, "token", "", "sign in with this token; other programs may see it: PLUMB_AUTH_TOKEN is better")
	set.BoolVar(&flags.kubernetes, "kubernetes", false, "send the token of the kubeconfig's context, as it is at the time of each call")
	set.StringVar(&flags.authority, "certificate-authority", "", "`FILE` with the certificate authorities to believe, in PEM")
	set.StringVar(&flags.fingerprint, "certificate-fingerprint", "", "believe the certificate with this SHA-256 fingerprint, and no other")
	set.BoolVar(&flags.insecure, "insecure-skip-tls-verify", false, "believe any certificate: whoever is on the way can read and change everything")
	set.BoolVar(&flags.plaintext, "plaintext", false, "send the token over http to another machine: whoever is on the way can read it")
	login.MarkFlagsMutuallyExclusive("certificate-authority", "certificate-fingerprint", "insecure-skip-tls-verify")
	login.MarkFlagsMutuallyExclusive("password", "password-stdin")
	login.MarkFlagsMutuallyExclusive("username", "sso", "token", "kubernetes")
	return login
}

// login finds out which server it is, why it is trusted and how one signs in
// there, does so, and keeps what came of it once the server has said who it is.
func (a *app) login(ctx context.Context, server string, flags loginFlags) error {
	shelf, err := logins.ShelfIn(a.streams.Getenv)
	if err != nil {
		return err
	}
	address, err := logins.Address(server, flags.plaintext)
	if err != nil {
		return advise(err, "use https; or say that it is meant with --plaintext")
	}
	login := &logins.Login{Name: flags.name, Server: address}
	if login.Name == "" {
		if login.Name, err = hostOf(address); err != nil {
			return err
		}
	}
	if login.Name == logins.Kubeconfig {
		return fmt.Errorf("%q means the cluster of the kubeconfig: give the login another name", login.Name)
	}
	if err := a.believe(&login.Trust, flags); err != nil {
		return err
	}
	ways, err := a.waysIn(ctx, login)
	if err != nil {
		return err
	}
	if err := a.signIn(ctx, login, ways, flags); err != nil {
		return err
	}
	s, err := a.servedBy(login)
	if err != nil {
		return err
	}
	who, err := s.whoami(ctx)
	if err != nil {
		return err
	}
	login.User = who.Name
	err = shelf.Change(func(book *logins.Book) error {
		book.Put(*login)
		book.Current = login.Name
		return nil
	})
	if err != nil {
		return err
	}
	a.say.success("signed in to %s as %s", login, oneLine(who.Name))
	a.say.plain("  commands ask this server now; ask the kubeconfig's cluster with: plumb context use %s", logins.Kubeconfig)
	return nil
}

func hostOf(address string) (string, error) {
	at, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	return at.Host + strings.TrimRight(at.Path, "/"), nil
}

// believe takes over what the flags say about trust.
func (a *app) believe(trust *logins.Trust, flags loginFlags) error {
	trust.Anybody, trust.Plaintext = flags.insecure, flags.plaintext
	if flags.authority != "" {
		pem, err := os.ReadFile(a.path(flags.authority))
		if err != nil {
			return err
		}
		trust.Authority = string(pem)
	}
	if flags.fingerprint != "" {
		var err error
		if trust.Fingerprint, err = logins.ParseFingerprint(flags.fingerprint); err != nil {
			return advise(err, "see it where the server runs, with: openssl x509 -noout -fingerprint -sha256 -in tls.crt")
		}
	}
	return nil
}

// waysIn asks how people sign in to a server. One whose certificate nobody
// vouches for is asked once the user has looked at it.
func (a *app) waysIn(ctx context.Context, login *logins.Login) (*plumbv1.GetSignInResponse, error) {
	for asked := false; ; asked = true {
		anonymous := *login
		anonymous.Token, anonymous.Kubernetes = "", ""
		s, err := a.servedBy(&anonymous)
		if err != nil {
			return nil, err
		}
		ways, err := s.client.Session.GetSignIn(ctx, &plumbv1.GetSignInRequest{})
		if !asked && logins.Untrusted(err) && login.Trust == (logins.Trust{Plaintext: login.Trust.Plaintext}) {
			if err := a.lookAtCertificate(ctx, login, err); err != nil {
				return nil, err
			}
			continue
		}
		return ways, s.told(err)
	}
}

// lookAtCertificate lets the user compare the certificate that a server shows
// with what they were told of it, and keeps its fingerprint.
func (a *app) lookAtCertificate(ctx context.Context, login *logins.Login, why error) error {
	certificate, err := logins.Shown(ctx, login.Server)
	if err != nil {
		return err
	}
	fingerprint := logins.Fingerprint(certificate)
	names := append([]string(nil), certificate.DNSNames...)
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}
	a.say.warning("%s: nobody vouches for the server's certificate: %v", login.Server, why)
	a.say.plain("  it is for %s, made by %q, and ends %s", oneLine(cmp.Or(strings.Join(names, ", "), "nobody")), certificate.Issuer.String(), certificate.NotAfter.UTC().Format(time.DateOnly))
	a.say.plain("  fingerprint %s", fingerprint)
	if !a.interactive() {
		return advise(errors.New("the server cannot be trusted"), "give its authority by --certificate-authority or, if the fingerprint is right, --certificate-fingerprint %s", fingerprint)
	}
	if err := a.confirm("Is this the fingerprint that you were told? Trust it from now on?"); err != nil {
		return err
	}
	login.Trust.Fingerprint = fingerprint
	return nil
}

// signIn gets a token in the way that was chosen.
func (a *app) signIn(ctx context.Context, login *logins.Login, ways *plumbv1.GetSignInResponse, flags loginFlags) error {
	token := cmp.Or(flags.token, a.streams.Getenv(tokenVariable))
	switch {
	case flags.kubernetes:
		raw, err := a.kube.loader(a).RawConfig()
		if err != nil {
			return err
		}
		if login.Kubernetes = cmp.Or(a.kube.overrides.CurrentContext, raw.CurrentContext); login.Kubernetes == "" {
			return advise(errors.New("the kubeconfig has no current context"), "choose one with --context")
		}
		return nil
	case flags.sso:
		return a.signInAtProvider(ctx, login, ways, flags)
	case flags.username != "" || flags.password != "" || flags.passwordStdin:
		return a.signInByPassword(ctx, login, ways, flags)
	case token != "":
		login.Token = token
		return nil
	case !ways.GetLocal() && ways.GetProvider() != nil:
		return a.signInAtProvider(ctx, login, ways, flags)
	}
	return a.signInByPassword(ctx, login, ways, flags)
}

// signInByPassword asks for what the flags do not say.
func (a *app) signInByPassword(ctx context.Context, login *logins.Login, ways *plumbv1.GetSignInResponse, flags loginFlags) error {
	if !ways.GetLocal() {
		return advise(fmt.Errorf("%s takes no passwords", login.Server), "sign in with --sso or --token")
	}
	input := bufio.NewReader(io.LimitReader(a.streams.In, 4<<10))
	if flags.username == "" {
		if !a.interactive() {
			return advise(errors.New("how to sign in is not said"), "give --username and --password-stdin, --sso, --token or --kubernetes")
		}
		a.say.plain("Username:")
		line, err := input.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		flags.username = strings.TrimSpace(line)
	}
	if flags.password == "" {
		var err error
		if flags.password, err = a.readPassword(input, flags.passwordStdin); err != nil {
			return err
		}
	}
	s, err := a.servedBy(login)
	if err != nil {
		return err
	}
	answer, err := s.client.Session.SignIn(ctx, &plumbv1.SignInRequest{Username: flags.username, Password: flags.password, Token: true})
	if client.CodeOf(err) == client.Unauthenticated {
		return advise(fmt.Errorf("%s: %w", login.Server, err), "check the name and the password%s", firstPasswordHint(ways))
	}
	if err != nil {
		return s.told(err)
	}
	login.Token, login.Session = answer.GetToken(), true
	if expires := answer.GetExpires(); expires != nil {
		login.Expires = expires.AsTime()
	}
	return nil
}

func firstPasswordHint(ways *plumbv1.GetSignInResponse) string {
	if ways.GetHint() == "" {
		return ""
	}
	return "; admin's first one is printed by: " + ways.GetHint()
}

// readPassword reads a line: of the terminal, which does not show it, or of
// standard input where that is asked for.
func (a *app) readPassword(input *bufio.Reader, fromInput bool) (string, error) {
	if !fromInput {
		terminal, ok := a.streams.In.(*os.File)
		if !ok || !term.IsTerminal(int(terminal.Fd())) {
			return "", advise(errors.New("there is no terminal to ask for the password at"), "hand it over with --password-stdin")
		}
		a.say.plain("Password:")
		typed, err := term.ReadPassword(int(terminal.Fd()))
		return string(typed), err
	}
	line, err := input.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// interactive reports whether somebody can be asked.
func (a *app) interactive() bool {
	file, ok := a.streams.In.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// signInAtProvider sends the browser to the identity provider.
func (a *app) signInAtProvider(ctx context.Context, login *logins.Login, ways *plumbv1.GetSignInResponse, flags loginFlags) error {
	way := ways.GetProvider()
	if way == nil {
		return advise(fmt.Errorf("%s knows no single sign-on", login.Server), "sign in with --username or --token")
	}
	// The server may be anybody's: who is asked for the password is no choice of it
	// that the user does not see, nor one that everybody on the way can listen to.
	if _, err := logins.Address(way.GetIssuer(), flags.plaintext); err != nil {
		return advise(fmt.Errorf("the identity provider of %s: %w", login.Server, err), "sign in in another way; or say that it is meant with --plaintext")
	}
	provider := loopback.Provider{Issuer: way.GetIssuer(), ClientID: way.GetClientId(), Scopes: way.GetScopes(), Claims: way.GetClaims()}
	reach, err := login.Trust.ProviderClient()
	if err != nil {
		return err
	}
	session, err := loopback.SignIn(ctx, provider, loopback.Options{HTTP: reach, Port: flags.ssoPort, Open: func(address string) error {
		if flags.ssoLaunch {
			a.say.action("opening the browser at %s, to sign in to %s", oneLine(way.GetIssuer()), login.Server)
			if err := a.browse(address); err == nil {
				a.say.waiting("waiting for it to come back")
				return nil
			}
			a.say.warning("the browser cannot be opened")
		}
		a.say.plain("open this address in a browser on this machine:\n  %s", address)
		return nil
	}})
	if err != nil {
		return err
	}
	login.Provider, login.Session = &provider, true
	login.Token, login.Refresh, login.Expires = string(session.Token.Reveal()), string(session.Refresh.Reveal()), session.Expires
	return nil
}

// openInBrowser starts the system's browser.
func openInBrowser(address string) error {
	switch runtime.GOOS {
	case "darwin":
		return exec.Command("open", address).Start()
	case "windows":
		return exec.Command("rundll32", "url.dll,FileProtocolHandler", address).Start()
	}
	return exec.Command("xdg-open", address).Start()
}

// logout ends the session at the server, and forgets it here in any case.
func (a *app) logout(ctx context.Context, shelf logins.Shelf, login *logins.Login) error {
	err := a.endSession(ctx, login)
	forgotten := shelf.Change(func(book *logins.Book) error { book.Delete(login.Name); return nil })
	if forgotten != nil {
		return forgotten
	}
	if err != nil {
		return advise(fmt.Errorf("the session at %s is forgotten here, but the server was not told: %w", login, err), "it ends by itself %s", endsText(login))
	}
	a.say.success("signed out of %s", login)
	if !login.Session && login.Token != "" {
		a.say.plain("  the token itself is still good: whoever has it elsewhere can use it; take it back with: argocd account delete-token, or argocd proj role delete-token")
	}
	return nil
}

func endsText(login *logins.Login) string {
	if login.Expires.IsZero() {
		return "when its account is disabled"
	}
	return "at " + login.Expires.UTC().Format(time.RFC3339)
}

// endSession takes back what signing in has made. A token that was given is
// somebody's own.
func (a *app) endSession(ctx context.Context, login *logins.Login) error {
	if !login.Session || !login.Expires.IsZero() && a.now().After(login.Expires) && login.Refresh == "" {
		return nil
	}
	asItIs := *login
	asItIs.Provider = nil // a session is not renewed to be ended
	s, err := a.servedBy(&asItIs)
	if err != nil {
		return err
	}
	var failures []error
	if login.Provider != nil && login.Refresh != "" {
		reach, err := login.Trust.ProviderClient()
		if err == nil {
			err = loopback.Revoke(ctx, reach, *login.Provider, model.NewSecret([]byte(login.Refresh)))
		}
		failures = append(failures, err)
	}
	if login.Expires.IsZero() || a.now().Before(login.Expires) {
		answer, err := s.client.Session.SignOut(ctx, &plumbv1.SignOutRequest{})
		if err == nil && answer.GetUrl() != "" {
			err = s.leave(ctx)
		}
		failures = append(failures, s.told(err))
	}
	return errors.Join(failures...)
}
