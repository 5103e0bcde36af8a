package render

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	gojsonnet "github.com/google/go-jsonnet"
)

// workerName is the name by which this binary is started to evaluate Jsonnet.
const workerName = "plumb-jsonnet"

// The exit codes of a worker that has reached a bound.
const (
	exitTime   = 70
	exitMemory = 71
)

// A worker is this binary under another name. It has to be recognised before
// anything else of the program begins, and in the binaries of tests too.
func init() {
	if len(os.Args) == 1 && os.Args[0] == workerName {
		if work(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// work evaluates the files that it is told to, until there is nothing to read.
func work(in io.Reader, out io.Writer) error {
	setup, err := receive(in, math.MaxUint32)
	if err != nil || setup.Kind != msgConfigure {
		return errors.New("not configured")
	}
	if err := confine(setup.Memory, setup.Time); err != nil {
		return err
	}
	debug.SetMemoryLimit(setup.Memory)
	go watch(setup.Memory, time.Now().Add(setup.Time))
	imports := &importer{in: in, out: out, known: map[string]gojsonnet.Contents{}, answers: map[[2]string]answer{}}
	for {
		m, err := receive(in, math.MaxUint32)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || m.Kind != msgEvaluate {
			return errors.New("not told what to evaluate")
		}
		text, err := vm(setup, imports).EvaluateFile("/" + m.Path)
		switch {
		case imports.broken != nil:
			return imports.broken
		case err != nil:
			err = send(out, message{Kind: msgFailure, Text: readable(err)})
		case int64(len(text)) > setup.Result:
			err = send(out, message{Kind: msgFailure, Text: fmt.Sprintf("the result has %d bytes, more than the %d that are read", len(text), setup.Result)})
		default:
			err = send(out, message{Kind: msgResult, Content: []byte(text)})
		}
		if err != nil {
			return err
		}
	}
}

// vm is a new one for every file, as upstream has it, without functions of ours.
func vm(setup message, imports *importer) *gojsonnet.VM {
	vm := gojsonnet.MakeVM()
	vm.MaxStack = setup.Stack
	vm.SetTraceOut(io.Discard)
	for _, v := range setup.TLAs {
		if v.Code {
			vm.TLACode(v.Name, v.Value)
		} else {
			vm.TLAVar(v.Name, v.Value)
		}
	}
	for _, v := range setup.ExtVars {
		if v.Code {
			vm.ExtCode(v.Name, v.Value)
		} else {
			vm.ExtVar(v.Name, v.Value)
		}
	}
	vm.Importer(imports)
	return vm
}

// readable is the error without the stack of a crash of the interpreter.
func readable(err error) string {
	text := err.Error()
	if strings.HasPrefix(text, "(CRASH)") {
		text, _, _ = strings.Cut(text, "\n")
	}
	return text
}

// watch ends the process when it has reached a bound. Where the operating
// system can do that too (see confine) this is the gentler way.
func watch(memory int64, until time.Time) {
	const pause = 10 * time.Millisecond
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for range time.Tick(pause) {
		if metrics.Read(sample); sample[0].Value.Uint64() > uint64(memory) {
			os.Exit(exitMemory)
		}
		if time.Now().After(until) {
			os.Exit(exitTime)
		}
	}
}

// importer asks for what is imported. It keeps what it got, since the
// interpreter wants the same bytes for the same path.
type importer struct {
	in      io.Reader
	out     io.Writer
	known   map[string]gojsonnet.Contents
	answers map[[2]string]answer
	broken  error
}

type answer struct {
	contents gojsonnet.Contents
	at       string
	err      error
}

// Import implements gojsonnet.Importer.
func (i *importer) Import(from, name string) (gojsonnet.Contents, string, error) {
	question := [2]string{from, name}
	known, ok := i.answers[question]
	if !ok {
		known = i.ask(from, name)
		i.answers[question] = known
	}
	return known.contents, known.at, known.err
}

func (i *importer) ask(from, name string) answer {
	if i.broken == nil {
		i.broken = send(i.out, message{Kind: msgWanted, From: from, Path: name})
	}
	var m message
	if i.broken == nil {
		m, i.broken = receive(i.in, math.MaxUint32)
	}
	switch {
	case i.broken != nil:
		return answer{err: i.broken}
	case m.Kind != msgContents:
		return answer{err: errors.New(m.Text)}
	}
	if _, ok := i.known[m.Path]; !ok {
		i.known[m.Path] = gojsonnet.MakeContentsRaw(m.Content)
	}
	return answer{contents: i.known[m.Path], at: m.Path}
}
