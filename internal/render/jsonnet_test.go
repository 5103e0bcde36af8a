package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

// hostile are programs that ask for more than there is.
var hostile = map[string]string{
	"a loop without end":        `local f(n) = f(n + 1) tailstrict; f(0)`,
	"a tree of calls":           `local f(n) = if n == 0 then 1 else f(n - 1) + f(n - 1); f(400)`,
	"a long array":              `std.length(std.makeArray(1000000000, function(i) i))`,
	"a long range":              `std.range(1, 1000000000)`,
	"a text that doubles":       `local d(s, n) = if n == 0 then s else d(s + s, n - 1); { a: d('x', 40) }`,
	"a long join":               `local d(s, n) = if n == 0 then s else d(s + s, n - 1); std.join(d('x', 20), std.makeArray(1000000, function(i) 'y'))`,
	"arrays in arrays":          `local a = ['x', 'x'], b = [a, a, a, a], c = [b, b, b, b], d = [c, c, c, c], e = [d, d, d, d], f = [e, e, e, e], g = [f, f, f, f], h = [g, g, g, g], i = [h, h, h, h], j = [i, i, i, i], k = [j, j, j, j], l = [k, k, k, k], m = [l, l, l, l], n = [m, m, m, m]; [n, n, n, n]`,
	"a wide format":             `'%2000000000d' % 1`,
	"parentheses in each other": strings.Repeat("(", 1_000_000),
}

func TestHostileJsonnetIsEnded(t *testing.T) {
	for name, program := range hostile {
		t.Run(name, func(t *testing.T) {
			limits := Limits{JsonnetTime: time.Second, JsonnetBytes: 64 << 20}
			_, err := evaluated(context.Background(), program, limits)
			var fault *model.Fault
			if !errors.As(err, &fault) || fault.Reason != ComparisonError || len(fault.Message) > 3000 {
				t.Fatalf("got %v", err)
			}
			t.Log(firstLine(fault.Message))
			if n := len(workers); n != 0 {
				t.Errorf("%d processes are not accounted for", n)
			}
		})
	}
}

func TestJsonnetTimeAndMemoryAreTold(t *testing.T) {
	for program, want := range map[string]struct {
		message string
		retry   bool
	}{
		hostile["a loop without end"]: {"it did not end within 200ms", true},
		hostile["a long array"]:       {"it needs more than the 64 MiB of memory that it gets", false},
	} {
		limits := Limits{JsonnetTime: 200 * time.Millisecond}
		if !want.retry {
			limits = Limits{JsonnetTime: time.Minute, JsonnetBytes: 64 << 20}
		}
		_, err := evaluated(context.Background(), program, limits)
		var fault *model.Fault
		if !errors.As(err, &fault) || !strings.Contains(fault.Message, want.message) || fault.Retry != want.retry || fault.Origin.File != "a.jsonnet" {
			t.Errorf("want %q, got %#v", want.message, err)
		}
	}
}

func TestJsonnetEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	tree := cancelling{memory{"a.jsonnet": "(importstr 'lib.txt') + (" + hostile["a loop without end"] + ")", "lib.txt": "x"}, cancel}
	_, err := Build(ctx, Record(ctx, tree, Limits{}), "", model.Render{Kind: model.RenderDirectory}, model.Origin{}, Limits{})
	var fault *model.Fault
	if !errors.As(err, &fault) || !errors.Is(err, context.Canceled) || !fault.Retry {
		t.Errorf("got %#v", err)
	}
	if n := len(workers); n != 0 {
		t.Errorf("%d processes are not accounted for", n)
	}
}

// cancelling ends a context when a library is read.
type cancelling struct {
	memory
	cancel func()
}

func (c cancelling) Read(p string) ([]byte, error) {
	if p == "lib.txt" {
		c.cancel()
	}
	return c.memory.Read(p)
}

func TestJsonnetResultIsBounded(t *testing.T) {
	program := `{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { k: std.repeat('x', 2000) } }`
	if _, err := evaluated(context.Background(), program, Limits{}); err != nil {
		t.Fatal(err)
	}
	if _, err := evaluated(context.Background(), program, Limits{Bytes: 1000}); err == nil || !strings.Contains(err.Error(), "the result has 2") {
		t.Errorf("got %v", err)
	}
}

// More directories than there are places wait for each other, and all end.
func TestJsonnetProcessesAreFew(t *testing.T) {
	done := make(chan error)
	n := 3 * cap(workers)
	for i := range n {
		go func() {
			_, err := evaluated(context.Background(), fmt.Sprintf(`{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a%d' } }`, i), Limits{})
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(workers); n != 0 {
		t.Errorf("%d processes are not accounted for", n)
	}
}

// The program that runs is ended with the process that started it: there is
// nothing to read, or nobody to write to, and at the latest its time is over.
func TestWorkerEndsWithItsMaster(t *testing.T) {
	limits := Limits{JsonnetTime: time.Minute}.orDefaults()
	for _, m := range [][]message{nil, {{Kind: msgEvaluate, Path: "a.jsonnet"}}} {
		p, err := startProcess(context.Background(), limits)
		if err != nil {
			t.Fatal(err)
		}
		setup := message{Kind: msgConfigure, Memory: limits.JsonnetBytes, Result: limits.Bytes, Stack: limits.JsonnetStack, Time: limits.JsonnetTime}
		for _, one := range append([]message{setup}, m...) {
			if err := p.send(one); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.in.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, p.out); err != nil {
			t.Error(err)
		}
		if err := p.command.Wait(); p.command.ProcessState.ExitCode() == -1 {
			t.Errorf("it did not end by itself: %v", err)
		}
		p.cancel()
	}
}

func TestMessagesAreBounded(t *testing.T) {
	var wire bytes.Buffer
	if err := send(&wire, message{Kind: msgResult, Content: make([]byte, 1000)}); err != nil {
		t.Fatal(err)
	}
	text := wire.Bytes()
	if _, err := receive(bytes.NewReader(text), 1000); !errors.Is(err, errLong) {
		t.Errorf("got %v", err)
	}
	if m, err := receive(bytes.NewReader(text), wireSize(1000)); err != nil || len(m.Content) != 1000 {
		t.Errorf("got %v, %v", m, err)
	}
	if _, err := receive(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xf0, '{'}), 1<<32); err == nil {
		t.Error("a message that breaks off is read")
	}
}

func evaluated(ctx context.Context, program string, limits Limits) (*model.Manifest, error) {
	tree := memory{"a.jsonnet": program}
	return Build(ctx, Record(ctx, tree, limits), "", model.Render{Kind: model.RenderDirectory}, model.Origin{}, limits)
}

// FuzzJsonnetOptions feeds names, values and paths to a directory with a
// program: it must end in objects or in a fault, and read nothing but the tree.
func FuzzJsonnetOptions(f *testing.F) {
	f.Add("x", "1 + 1", true, "vendor", "lib.libsonnet")
	f.Add("x", "$NAME ${NAME", false, "../..", "../x")
	f.Add("", "error 'no'", true, "/", "/etc/passwd")
	f.Add("a b", "import 'lib.libsonnet'", true, "app/a.jsonnet", "a.jsonnet")
	f.Add("x", "{", true, "\x00", "'\n")
	f.Fuzz(func(t *testing.T, name, value string, code bool, lib, imported string) {
		if len(name)+len(value)+len(lib)+len(imported) > 1024 {
			return
		}
		tree := memory{
			"app/a.jsonnet":        "{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { v: std.toString(std.extVar('x')), i: importstr @'" + strings.ReplaceAll(imported, "'", "''") + "' } }",
			"vendor/lib.libsonnet": "{ canary: 'in the tree' }",
		}
		opts := model.Render{
			Kind: model.RenderDirectory, Environment: map[string]string{"NAME": "n"},
			Directory: model.DirectoryOptions{Jsonnet: model.JsonnetOptions{
				ExtVars: []model.JsonnetVar{{Name: name, Value: value, Code: code}}, TLAs: []model.JsonnetVar{{Name: name, Value: value, Code: code}}, Libs: []string{lib},
			}},
		}
		limits := Limits{JsonnetTime: 5 * time.Second, JsonnetBytes: 128 << 20}
		m, err := Build(context.Background(), Record(context.Background(), tree, limits), "app", opts, model.Origin{}, limits)
		var fault *model.Fault
		switch {
		case err != nil && (!errors.As(err, &fault) || fault.Message == ""):
			t.Fatalf("%T is no fault: %v", err, err)
		case err == nil && len(m.Objects) != 1:
			t.Errorf("%d objects", len(m.Objects))
		}
	})
}
