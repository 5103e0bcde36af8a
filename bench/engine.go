package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"plumb.dev/plumb/scenario/stage"
)

// An engine is what is measured: one process, or the several that Flux is.
type engine struct {
	name   string
	agents []string // what its requests say who they are of
	parts  []part
}

type part struct {
	*stage.Process
	log *stage.Log
}

// start adds a process to the engine, and waits until it is ready.
func (e *engine) start(ctx context.Context, name, health string, env []string, args ...string) error {
	log := stage.NewLog(nil)
	process, err := stage.Start(stage.Command{Name: name, Args: args, Env: env, Log: log})
	if err != nil {
		return err
	}
	e.parts = append(e.parts, part{process, log})
	for ctx.Err() == nil {
		if ready(ctx, health) {
			return nil
		}
		select {
		case <-process.Done():
			return fmt.Errorf("%s has ended", name)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return ctx.Err()
}

func (e *engine) pids() []int {
	var pids []int
	for _, p := range e.parts {
		pids = append(pids, p.PID())
	}
	return pids
}

// made reports whether a request is one of the engine's.
func (e *engine) made(r stage.Request) bool { return slices.Contains(e.agents, r.Agent) }

func (e *engine) stop() error {
	var all error
	for _, p := range slices.Backward(e.parts) {
		all = errors.Join(all, p.Stop(10*time.Second))
	}
	return all
}

// said is the end of what the engine has printed.
func (e *engine) said() string {
	var all string
	for _, p := range e.parts {
		all += p.log.Tail(20)
	}
	return all
}

// start starts what is measured, and waits until it is ready.
func (b *bench) start(ctx context.Context) (err error) {
	b.engine, err = b.begin(ctx)
	return err
}

func (b *bench) startPlumb(ctx context.Context) (*engine, error) {
	e := &engine{name: "Plumb", agents: []string{"plumb"}}
	health, webhooks, err := twoAddresses(ctx)
	if err != nil {
		return e, err
	}
	b.webhooks = webhooks
	command := "controller"
	if b.console {
		command = "server"
		if err := b.namespace(ctx, plumbNamespace); err != nil { // keeps accounts
			return e, err
		}
	}
	args := []string{
		b.plumb, command, "--kubeconfig", b.plane.Kubeconfig(), "--data-dir", filepath.Join(b.dir, "plumb"),
		"--health-addr", health, "--api-addr", webhooks,
	}
	return e, e.start(ctx, "plumb "+command, health, nil, append(args, b.extra...)...)
}

// startFlux starts the controllers of Flux that the dialect needs.
func (b *bench) startFlux(ctx context.Context) (*engine, error) {
	e := &engine{name: "Flux"}
	env := []string{"KUBECONFIG=" + b.plane.Kubeconfig(), "RUNTIME_NAMESPACE=" + declaredNamespace}
	for _, name := range append([]string{sourceController}, b.dialect.controllers...) {
		health, metrics, err := twoAddresses(ctx)
		if err != nil {
			return e, err
		}
		args := []string{filepath.Join(b.flux, name), "--health-addr", health, "--metrics-addr", metrics, "--events-addr", ""}
		if name == sourceController {
			storage, _, err := twoAddresses(ctx)
			if err != nil {
				return e, err
			}
			dir := filepath.Join(b.dir, "storage")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return e, err
			}
			args = append(args, "--storage-path", dir, "--storage-addr", storage, "--storage-adv-addr", storage)
		}
		e.agents = append(e.agents, name)
		if err := e.start(ctx, name, health, env, append(args, b.fluxFlags...)...); err != nil {
			return e, err
		}
	}
	return e, nil
}

// sourceController is needed whatever is delivered.
const sourceController = "source-controller"

func twoAddresses(ctx context.Context) (one, other string, err error) {
	if one, err = freeAddress(ctx); err != nil {
		return "", "", err
	}
	other, err = freeAddress(ctx)
	return one, other, err
}
