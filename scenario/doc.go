// Package scenario tells what Plumb does as stories: one behaviour per file in
// stories/, run against a real API server. Each begins with its title and what
// it is about; docs/scenarios.md lists them all.
//
// A story is a testscript (github.com/rogpeppe/go-internal/testscript) with
// these words of its own. It has a namespace of its own, $NS, a Git repository
// of its own, $REPO_URL, and a GitRepository named "repo" that follows the
// branch main of it. $HEAD is the last commit. These three names, and those
// that remember set, are replaced in the files of the story, too.
//
//	git-commit [-m TEXT] [-only] [-quiet] [DIR...]
//	                       lays the files of directories of the story into the
//	                       repository (-only: and nothing else), commits, pushes,
//	                       and wakes the sources, as a webhook would (-quiet: does not)
//	git-remove PATH...     removes files from the work tree
//	git ARG...             runs git in the work tree
//	git-server MOOD        well, stalled, broken, lying; or: private USER PASSWORD; or: asked,
//	                       which waits until somebody waits for the stalled one
//	wake [KIND/NAME]       asks the sources, or one object, to look at once
//	apply [-as MANAGER] [-client-side] FILE...
//	                       applies objects; a namespace that is missing is $NS
//	await [-for 1m] KIND/NAME QUESTION...
//	                       waits until all of it holds; see stage.Question
//	expect KIND/NAME QUESTION...
//	                       it holds now
//	await-event KIND/NAME REASON [TEXT]
//	                       waits for an event about the object
//	remember NAME KIND/NAME .path
//	                       keeps a value as $NAME
//	get KIND/NAME [.path]  prints a field, or what is steady of the object
//	patch [-status] KIND/NAME JSON
//	                       edits by merge patch, as a hand would
//	label, annotate KIND/NAME KEY=VALUE|KEY-
//	delete [-orphan] KIND/NAME
//	                       (-orphan: as "kubectl delete --cascade=orphan")
//	plumb ARG...           runs the command line
//	plumb-login USER [ARG...]
//	                       signs in to the server with it: as admin, as a service account
//	                       (serviceaccount/NAME, by its token) or as one of account; from
//	                       then on plumb asks the server
//	plumb-sso EMAIL [ARG...]
//	                       signs in with it at dex, in a browser
//	own-cluster [-audit]   the story plays on a cluster of its own, without a controller
//	start-controller [FLAG...], stop-controller, kill-controller, restart-controller
//	                       kill is kill -9; several can run, by -name NAME before the flags
//	lose-state             removes what a killed controller kept on disk
//	restart-cluster        restarts the API server
//	second-cluster         starts another cluster, with its kubeconfig in Secret "second";
//	                       await, expect and patch reach it with "-on second"; a cluster
//	                       Secret of Argo CD is written of $SECOND_SERVER and $SECOND_CONFIG
//	describe-cluster NAME [KEY=VALUE...]
//	                       writes a ConfigMap that describes the story's own cluster, for
//	                       spec.kubeConfig.configMapRef
//	web [-status CODE] [-token TOKEN] PATH [FILE]
//	                       from now on a request for a path of $WEB_URL is answered with the
//	                       file (-token: for those who have the token only); others get 404
//	webhook HEADER FILE    posts the file to the controllers, as a forge does
//	pack FILE DIR          makes an archive (.tgz) of the files of a directory of the story
//	push-chart DIR...      packages charts of the story and offers them in the Helm
//	                       repository $CHARTS_URL and the registry oci://$REGISTRY/charts
//	push-artifact REPOSITORY:TAG [MEDIATYPE=]DIR...
//	                       puts the files of a directory into the registry $REGISTRY, as
//	                       "flux push artifact" does; several are layers. $DIGEST is what
//	                       it is known by from then on
//	sign-artifact [-notation] [-keyless SUBJECT [-bundle]] NAME REPOSITORY:TAG
//	                       signs it, as cosign does, with a key of that name (made when it
//	                       is named first); $NAME is the public key in base64. Or as notation
//	                       does, with a certificate of the authority NAME; $NAME is its
//	                       certificate. Or as cosign does without a key, by the instance NAME
//	                       of sigstore, as SUBJECT (-bundle: as cosign 3 does); $NAME is its
//	                       trusted root
//	fill-bucket DIR        the bucket "things" of the object store $REGISTRY has the files
//	                       of the directory, and no others
//	warehouse [MOOD]       the server of all these: well, broken; or: private USER PASSWORD;
//	                       or: asked PATH, which prints how often
//	download KIND/NAME     gets the artifact of a source, which has to be what the status
//	                       says, and prints the files in it, or what it is
//	helm-record RELEASE REVISION
//	                       prints what Helm's storage tells of a revision, without its chart
//	sops-encrypt NAME FILE...
//	                       encrypts files of the story with an age key of that name (made
//	                       when it is named first); $NAME is the key
//	audit-mark             (own-cluster -audit)
//	audit-writes [-as USER] [-not-as USER] [RESOURCE...]
//	                       prints what Plumb has written since the mark
//	metrics                prints what the controllers count about the story's objects
//	search-everything [-in-git] TEXT
//	                       prints every place, but Secrets, that shows the text
//	                       (-in-git: the repository does, and so may its mirror)
//	account NAME...        makes local accounts of the server, each NAME-$NS to it
//	policy FILE            adds lines to the policy of who may do what
//	api [as USER] CALL [JSON]
//	                       makes a call of the server's API, and prints its answer, or
//	                       the first message of its stream. USER is admin, anonymous,
//	                       an account, or serviceaccount/NAME of the story
//	await-api [as USER] CALL [JSON] PATTERN...
//	                       makes it until the answer, or the refusal, has all of it
//	remember-api NAME [as USER] CALL [JSON] PATTERN
//	                       keeps what a group of the pattern matches in the answer as $NAME
//	open-stream [as USER] CALL [JSON], await-stream PATTERN
//	                       begins a call that goes on; waits for a message of it
//	api-everything [as USER] TEXT...
//	                       makes every call about everything, and prints those whose
//	                       answer or refusal shows one of the texts
//	argocd [as USER | -context] [-exit CODE] [-in FILE] ARG...
//	                       runs Argo CD's own command line against the server, as USER
//	                       (see api, or file:FILE for the token in it) by a token, or with
//	                       what "argocd login" has written down before. login is told the
//	                       address of the server, which is $SERVER from then on
//	argocd-begin [as USER | -context] ARG..., await-argocd PATTERN..., argocd-ends [CODE]
//	                       runs it while the story goes on; waits until it has printed
//	                       something; waits for its end
//	dex EMAIL=GROUP,...    starts a Dex at $DEX_URL where these people can sign in
//	argocd-sso EMAIL ARG...
//	                       runs "argocd login --sso" or "argocd relogin", and is the person
//	                       in the browser
//	certificate FILE KEYFILE
//	                       makes a certificate for loopback that is signed by itself
package scenario

//go:generate go run ./index
