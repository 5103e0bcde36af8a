//go:build unix

package controlplane

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeVariable makes this test binary play a part: a control plane that
// behaves well or badly, or a parent that is going to be killed.
const fakeVariable = "PLUMB_TEST_FAKE"

func TestMain(m *testing.M) {
	part := os.Getenv(fakeVariable)
	if part == "" {
		os.Exit(m.Run())
	}
	if part == "parent" {
		playParent()
		return
	}
	if slices.Contains(os.Args, "version") {
		playVersion(part)
		return
	}
	playServe(part)
}

func playVersion(part string) {
	switch part {
	case "other protocol":
		fmt.Println(`{"version":"v9","protocol":9,"kubernetes":"v9.9.9"}`)
	case "no version":
		fmt.Println("usage: something else")
	case "broken version":
		fmt.Fprintln(os.Stderr, "cannot execute")
		os.Exit(2)
	default:
		fmt.Println(`{"version":"dev","protocol":1,"kubernetes":"v1.37.1"}`)
	}
}

func playServe(part string) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	switch part {
	case "dies early":
		fmt.Fprintln(os.Stderr, strings.Repeat("chatter ", 10_000)+"the port is taken")
		os.Exit(3)
	case "never ready":
		<-terminated
		return
	case "nonsense":
		fmt.Println("hello")
		<-terminated
		return
	}

	announceReady()
	switch part {
	case "dies later":
		fmt.Fprintln(os.Stderr, "disk full")
		os.Exit(4)
	case "stubborn":
		for range terminated {
		}
	}
	if slices.Contains(os.Args, "--exit-with-parent") {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	<-terminated
}

func announceReady() {
	line, _ := json.Marshal(readyLine{
		Protocol: 1, Server: "https://127.0.0.1:6443", Kubeconfig: strings.Join(os.Args[1:], " "),
		Kubernetes: "v1.37.1", ReadyMillis: 1234, PID: os.Getpid(),
	})
	fmt.Println(string(line))
}

// playParent starts an attached control plane, says its process id and waits
// to be killed.
func playParent() {
	_ = os.Setenv(fakeVariable, "well-behaved")
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cluster, err := Start(context.Background(), Options{Program: self})
	if err != nil {
		panic(err)
	}
	fmt.Println(cluster.PID)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// fake returns options for a control plane that plays a part.
func fake(t *testing.T, part string) Options {
	t.Helper()
	t.Setenv(fakeVariable, part)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or every fake takes a second to end
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Program: self}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
