// Command generate writes what follows from the API's .proto files: the Go and
// TypeScript types, and the OpenAPI document. It runs in internal/api, by go
// generate.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"plumb.dev/plumb/internal/api/openapi"
)

const (
	sources = "proto"
	module  = "plumb.dev/plumb/internal/api"
	console = "../../web"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	files, err := compile(ctx)
	if err != nil {
		return err
	}
	if err := goTypes(ctx, files); err != nil {
		return err
	}
	if err := consoleTypes(ctx, files); err != nil {
		return err
	}
	document, err := openapi.Document(files)
	if err != nil {
		return err
	}
	return os.WriteFile("openapi.json", document, 0o644)
}

// compile reads every .proto file, with its comments.
func compile(ctx context.Context) ([]protoreflect.FileDescriptor, error) {
	names, err := filepath.Glob(filepath.Join(sources, "plumb", "v1", "*.proto"))
	if err != nil || len(names) == 0 {
		return nil, errors.Join(err, fmt.Errorf("no .proto files below %s", sources))
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = filepath.ToSlash(strings.TrimPrefix(name, sources+string(filepath.Separator)))
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{sources}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, err
	}
	files := make([]protoreflect.FileDescriptor, len(compiled))
	for i := range compiled {
		files[i] = compiled[i]
	}
	return files, nil
}

// goTypes writes the messages, and the handlers and clients of the services.
func goTypes(ctx context.Context, files []protoreflect.FileDescriptor) error {
	mapping := func(extra string) string {
		options := []string{"module=" + module}
		for _, f := range files {
			options = append(options, "M"+f.Path()+"="+module+"/plumbv1;plumbv1")
		}
		if extra != "" {
			options = append(options, extra)
		}
		return strings.Join(options, ",")
	}
	if err := plugin(ctx, files, ".", mapping(""), "go", "tool", "protoc-gen-go"); err != nil {
		return err
	}
	return plugin(ctx, files, ".", mapping("simple=true"), "go", "tool", "protoc-gen-connect-go")
}

// consoleTypes writes the console's types, where its tools are installed.
func consoleTypes(ctx context.Context, files []protoreflect.FileDescriptor) error {
	tool, err := filepath.Abs(filepath.Join(console, "node_modules", ".bin", "protoc-gen-es"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(tool); err != nil {
		fmt.Fprintln(os.Stderr, "generate: the console's types are left as they are: run npm ci in web first")
		return nil //nolint:nilerr // whoever works on Go alone has no use for them
	}
	return plugin(ctx, files, filepath.Join(console, "src", "gen"), "target=ts", tool)
}

// plugin runs a plugin of protoc and writes its answer below dir.
func plugin(ctx context.Context, files []protoreflect.FileDescriptor, dir, parameter string, command ...string) error {
	request := &pluginpb.CodeGeneratorRequest{Parameter: proto.String(parameter)}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, toProto(f))
	}
	for _, f := range files {
		add(f)
		request.FileToGenerate = append(request.FileToGenerate, f.Path())
	}
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	answer := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %s", strings.Join(command, " "), answer.GetError())
	}
	for _, file := range answer.File {
		path := filepath.Join(dir, filepath.FromSlash(file.GetName()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func toProto(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	return protodesc.ToFileDescriptorProto(f)
}
