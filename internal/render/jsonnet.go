package render

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"plumb.dev/plumb/internal/model"
)

// jsonnet evaluates the Jsonnet files of one directory.
//
// A Jsonnet program is a program: it can run for ever, and a few lines of it
// ask for more memory than there is, which no Go process survives. Nothing in
// the interpreter can stop it, so that it runs in a process of its own: this
// very binary, started again under another name (see worker). The process has
// no environment, no files and no network to use; what it imports it asks for,
// and gets from the tree, through the recorder. It is bounded from inside
// (memory, stack, processor time) and from outside: when the time of Limits or
// the context ends, it is killed and waited for, so that nothing of an abandoned
// program stays behind. There are at most as many as workers has places.
type jsonnet struct {
	*build
	dir  string // of the Application
	opts model.JsonnetOptions

	process *process // nil: none was needed yet
	libs    []string // where imports are looked up besides, last first

	imported map[string]bool // what was read
}

// workers bounds how many processes run at a time, and with that the memory
// that all programs together may take.
var workers = make(chan struct{}, 2)

// evaluate returns the JSON that a file of the tree comes to.
func (j *jsonnet) evaluate(file string) ([]byte, error) {
	if j.process == nil {
		if err := j.begin(); err != nil {
			return nil, err
		}
	}
	if err := j.process.send(message{Kind: msgEvaluate, Path: file}); err != nil {
		return nil, j.ended(file)
	}
	for {
		m, err := j.process.receive()
		if err != nil {
			return nil, j.ended(file)
		}
		switch m.Kind {
		case msgResult:
			return m.Content, nil
		case msgFailure:
			return nil, j.failed(file, m.Text)
		case msgWanted:
			answer := j.serve(file, m.From, m.Path)
			if err := j.process.send(answer); err != nil {
				return nil, j.ended(file)
			}
		default:
			return nil, j.ended(file)
		}
	}
}

// begin starts the process and hands it the variables.
func (j *jsonnet) begin() error {
	if err := j.resolveLibs(); err != nil {
		return err
	}
	select {
	case workers <- struct{}{}:
	case <-j.ctx.Done():
		return j.recorder.fail(j.ctx.Err())
	}
	started, err := startProcess(j.ctx, j.limits)
	if err != nil {
		<-workers
		fault := j.fault(j.origin.Field, "no process can be started to evaluate Jsonnet: "+err.Error(), "Plumb starts itself a second time for that: allow it to")
		fault.Retry = true
		return fault
	}
	j.process = started
	setup := message{Kind: msgConfigure, Memory: j.limits.JsonnetBytes, Result: j.limits.Bytes, Stack: j.limits.JsonnetStack, Time: j.limits.JsonnetTime}
	for _, v := range j.opts.ExtVars {
		setup.ExtVars = append(setup.ExtVars, jsonnetVar(v))
	}
	for _, v := range j.opts.TLAs {
		setup.TLAs = append(setup.TLAs, jsonnetVar(v))
	}
	if err := started.send(setup); err != nil {
		return j.ended("")
	}
	return nil
}

// close ends the process and waits for it.
func (j *jsonnet) close() {
	if j.process != nil {
		_ = j.process.end()
		j.process = nil
		<-workers
	}
}

// resolveLibs checks the directories of libraries: they are relative to the
// root of the source, and need not exist.
func (j *jsonnet) resolveLibs() error {
	for i, lib := range j.opts.Libs {
		field := fmt.Sprintf("%s.directory.jsonnet.libs[%d]", j.origin.Field, i)
		at := cleaned(lib)
		if climbs(at) || strings.Contains(at, "\x00") {
			return j.fault(field, fmt.Sprintf("file '%s' resolved to outside repository root", lib), "name a directory of the source, relative to its root")
		}
		in, _, err := j.fs.resolve(at)
		switch {
		case isNotExist(err):
			in = at
		case errors.Is(err, errOutside):
			return j.fault(field, fmt.Sprintf("file '%s' resolved to outside repository root", lib), "a link may lead to its own source only")
		case err != nil:
			return j.readFault(at, err)
		}
		j.libs = append([]string{in}, j.libs...)
	}
	j.libs = append(j.libs, j.dir)
	return nil
}

// serve answers an import: of the file itself, which nothing imports, or of
// what another file names. Beside that file it is looked for first, then in the
// libraries, the last one first, and in the directory of the Application.
func (j *jsonnet) serve(main, from, wantedPath string) message {
	if from == "" && wantedPath == "/"+main {
		return j.answer(main)
	}
	if path.IsAbs(wantedPath) || strings.Contains(wantedPath, "\x00") {
		return message{Kind: msgRefused, Text: fmt.Sprintf("couldn't open import %q: the path leads out of the source", wantedPath)}
	}
	dirs := j.libs
	if from != "" {
		dirs = append([]string{parent(from)}, dirs...)
	}
	for _, dir := range dirs {
		at := path.Join(dir, wantedPath)
		if climbs(at) {
			return message{Kind: msgRefused, Text: fmt.Sprintf("couldn't open import %q: the path leads out of the source", wantedPath)}
		}
		if m := j.answer(cleaned(at)); m.Kind != msgNothing {
			return m
		}
	}
	return message{Kind: msgRefused, Text: fmt.Sprintf("couldn't open import %q: no match locally or in the Jsonnet library paths", wantedPath)}
}

// answer reads one path.
func (j *jsonnet) answer(at string) message {
	in, entry, err := j.fs.resolve(at)
	switch {
	case isNotExist(err):
		return message{Kind: msgNothing}
	case err != nil:
		return message{Kind: msgRefused, Text: fmt.Sprintf("couldn't open import %q: %v", at, err)}
	case isDir(entry):
		return message{Kind: msgRefused, Text: fmt.Sprintf("couldn't open import %q: it is a directory", at)}
	}
	content, err := j.recorder.Read(in)
	if err != nil {
		return message{Kind: msgRefused, Text: fmt.Sprintf("couldn't open import %q: %v", at, err)}
	}
	if j.imported == nil {
		j.imported = map[string]bool{}
	}
	j.imported[at] = true
	return message{Kind: msgContents, Path: at, Content: content}
}

// positioned finds where an error of Jsonnet arose: a path of the tree, and a
// line.
var positioned = regexp.MustCompile(`(?m)(?:^|\s)([^\s:]+):\(?(\d+)[:)]`)

// failed is about a program that cannot be evaluated.
func (j *jsonnet) failed(file, text string) error {
	const most = 2000
	text = strings.ToValidUTF8(strings.TrimSpace(text), "")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	at, line := file, 0
	if found := positioned.FindStringSubmatch(text); found != nil && j.imported[found[1]] {
		at = found[1]
		line, _ = strconv.Atoi(found[2])
	}
	return j.faultAt(at, line, fmt.Sprintf("Failed to evaluate jsonnet %q: %s", path.Base(file), text), "")
}

// ended is about a process that is gone.
func (j *jsonnet) ended(file string) error {
	why := j.process.end()
	if err := j.ctx.Err(); err != nil {
		return j.recorder.fail(err)
	}
	fault := j.faultAt(file, 0, fmt.Sprintf("Failed to evaluate jsonnet %q: %s", path.Base(file), why), "")
	switch {
	case errors.Is(why, errTime):
		fault.Message = fmt.Sprintf("Failed to evaluate jsonnet %q: it did not end within %s", path.Base(file), j.limits.JsonnetTime)
		fault.Advice, fault.Retry = "look for a recursion without end, or split what it computes", true
	case errors.Is(why, errMemory):
		fault.Message = fmt.Sprintf("Failed to evaluate jsonnet %q: it needs more than the %d MiB of memory that it gets", path.Base(file), j.limits.JsonnetBytes>>20)
		fault.Advice = "look for arrays and texts that grow without end, or split what it computes"
	}
	return fault
}

// process is a worker, seen from outside.
type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     io.ReadCloser
	said    *tail
	cancel  context.CancelFunc
	ctx     context.Context
	most    int64
	why     error // once it has ended
}

// startProcess starts this binary as a worker that is killed when ctx or the
// time ends.
func startProcess(ctx context.Context, limits Limits) (*process, error) {
	binary, err := self()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limits.JsonnetTime, errTime)
	p := &process{ctx: ctx, cancel: cancel, said: &tail{}, most: wireSize(limits.Bytes)}
	p.command = exec.CommandContext(ctx, binary)
	p.command.Args = []string{workerName}
	p.command.Env = []string{"GOMAXPROCS=1"}
	p.command.Dir = string(os.PathSeparator)
	p.command.Stderr = p.said
	p.command.WaitDelay = time.Second
	if p.in, err = p.command.StdinPipe(); err == nil {
		if p.out, err = p.command.StdoutPipe(); err == nil {
			err = p.command.Start()
		}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// self is this binary, also when its file was replaced meanwhile.
func self() (string, error) {
	if runtime.GOOS == "linux" {
		if _, err := os.Stat("/proc/self/exe"); err == nil {
			return "/proc/self/exe", nil
		}
	}
	return os.Executable()
}

func (p *process) send(m message) error      { return send(p.in, m) }
func (p *process) receive() (message, error) { return receive(p.out, p.most) }

// end kills the process, waits for it, and says why it had ended before that.
func (p *process) end() error {
	if p.why != nil {
		return p.why
	}
	// One that broke off is about to exit, and its exit says why. Without
	// anything to read it has nothing left to do, but might not know.
	_ = p.in.Close()
	grace := time.AfterFunc(time.Second, func() { _ = p.command.Process.Kill() })
	_, _ = io.Copy(io.Discard, p.out)
	err := p.command.Wait()
	grace.Stop()
	cause := context.Cause(p.ctx)
	p.cancel()
	p.why = p.verdict(err, cause)
	return p.why
}

func (p *process) verdict(err, cause error) error {
	var exit *exec.ExitError
	switch said := p.said.String(); {
	case errors.Is(cause, errTime):
		return errTime
	case errors.As(err, &exit) && exit.ExitCode() == exitTime:
		return errTime
	case errors.As(err, &exit) && exit.ExitCode() == exitMemory,
		strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"), strings.Contains(said, "failed to allocate"):
		return errMemory
	case strings.Contains(said, "stack exceeds"), strings.Contains(said, "stack overflow"):
		return errors.New("the program is nested too deep")
	}
	return errors.New("the process that evaluates it ended")
}

// The bounds that end a process.
var (
	errTime   = errors.New("it took too long")
	errMemory = errors.New("it needs too much memory")
)

// tail keeps the beginning of what a process says on its way out.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.text = append(t.text, p[:min(len(p), most-len(t.text))]...)
	return len(p), nil
}

func (t *tail) String() string { return string(t.text) }

// message is one part of the conversation with a worker: JSON, after its length
// in four bytes.
type message struct {
	Kind    messageKind
	From    string       `json:",omitempty"` // file that imports
	Path    string       `json:",omitempty"`
	Content []byte       `json:",omitempty"`
	Text    string       `json:",omitempty"`
	ExtVars []jsonnetVar `json:",omitempty"`
	TLAs    []jsonnetVar `json:",omitempty"`

	Memory int64         `json:",omitempty"`
	Result int64         `json:",omitempty"` // bytes of one
	Stack  int           `json:",omitempty"`
	Time   time.Duration `json:",omitempty"`
}

// jsonnetVar has the fields of model.JsonnetVar.
type jsonnetVar struct {
	Name, Value string
	Code        bool
}

type messageKind uint8

const (
	msgConfigure messageKind = iota + 1 // to the worker: limits and variables
	msgEvaluate                         // to the worker: Path
	msgContents                         // to the worker: Content of what it wanted, which is at Path
	msgRefused                          // to the worker: Text says why it does not get it
	msgNothing                          // never sent
	msgWanted                           // from the worker: Path, named in From
	msgResult                           // from the worker: Content is JSON
	msgFailure                          // from the worker: Text says what is wrong
)

// wireSize bounds a message that holds so many bytes, which JSON spells in
// base64.
func wireSize(bytes int64) int64 {
	const rest = 64 << 10
	return min(bytes/3*4+rest, math.MaxUint32)
}

func send(to io.Writer, m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > math.MaxUint32 {
		return errLong
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, lengthSize+len(text)), uint32(len(text))), text...))
	return err
}

// receive reads a message of no more than so many bytes.
func receive(from io.Reader, most int64) (message, error) {
	var length [lengthSize]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return message{}, err
	}
	size := int64(binary.BigEndian.Uint32(length[:]))
	if size > most {
		return message{}, errLong
	}
	var text bytes.Buffer // grows with what arrives, not with what is announced
	if _, err := io.CopyN(&text, from, size); err != nil {
		return message{}, err
	}
	var m message
	return m, json.Unmarshal(text.Bytes(), &m)
}

const lengthSize = 4

var errLong = errors.New("the message is too long")
