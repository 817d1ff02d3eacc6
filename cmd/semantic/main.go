// Command semantic is the whole pod in one binary: proxy, engine and sidecar, and
// the tools around them.
//
// Read: main (the commands), garbage (of a start), settings (what all processes share), process (one
// process's life), serve (all three on one host), then one file a subcommand.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	_ "golang.org/x/crypto/x509roots/fallback" // the certificate authorities where the host has none, as in our image

	"github.com/semantic-pod/semantic/config"
)

// Exit statuses.
const (
	statusOK      = 0
	statusFailure = 1
	statusUsage   = 2
)

type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run proxy, engine and sidecar as three supervised processes on this host."`
	Proxy   proxyCmd   `cmd:"" help:"Run the proxy alone: HTTP on TCP in front of the engine's socket."`
	Engine  engineCmd  `cmd:"" help:"Run the engine alone: inference behind a Unix socket."`
	Sidecar sidecarCmd `cmd:"" help:"Run the sidecar alone: log rotation, health and metrics of its own."`
	Keys    keysCmd    `cmd:"" help:"Make, list, revoke and rotate the API keys in the key file."`
	Model   modelCmd   `cmd:"" help:"List, inspect and fetch the files of models."`
	Logs    logsCmd    `cmd:"" help:"Show the log lines of a request, or prove that the rotated logs are as they were written."`
	Top     topCmd     `cmd:"" help:"Show a pod live on the terminal: rates, latencies, queue, memory, keys, agents, alerts."`
	Chat    chatCmd    `cmd:"" help:"Chat with the pod on the terminal, or with one question a line from a pipe."`
	Rules   rulesCmd   `cmd:"" help:"Show the alert rules with their parameters, and check that Prometheus has them in force."`
	Probe   probeCmd   `cmd:"" help:"Ask a process of the pod on its Unix socket; the exit status is the answer."`
	Doctor  doctorCmd  `cmd:"" help:"Look at a deployment from inside, and say what to do about what is wrong."`
	Audit   auditCmd   `cmd:"" help:"Collect what an auditor asks for into one file, each claim with the command that proves it."`
	SBOM    sbomCmd    `cmd:"" name:"sbom" help:"Show what this binary is made of, prove it, or ask whether it holds a module."`
	Verify  verifyCmd  `cmd:"" name:"verify-release" help:"Prove that a folder holds a release, every byte of it, as its key signed it."`
	Version versionCmd `cmd:"" help:"Print version and commit."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its edges as arguments; it returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	collect := garbageHeld()
	var cmds commands
	exited := -1
	parsed, err := parse(&cmds, args, stdout, stderr, &exited)
	if exited >= 0 {
		return exited // --help was printed
	}
	if err == nil {
		err = parsed.Context.Run(&world{parsed: parsed, stdout: stdout, stderr: stderr, collect: collect})
	}
	if err == nil {
		return statusOK
	}
	fmt.Fprintf(stderr, "semantic: %v\n", err)
	if errors.Is(err, config.ErrUsage) {
		return statusUsage
	}
	return statusFailure
}

// world is what a command needs beside its settings.
type world struct {
	parsed         *config.Parsed
	stdout, stderr io.Writer
	collect        func() // see holdGarbage
}

// helpShown ends kong's parsing after it printed help.
type helpShown struct{}

func parse(cmds *commands, args []string, stdout, stderr io.Writer, exited *int) (p *config.Parsed, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(helpShown); !ok {
				panic(r)
			}
		}
	}()
	dataDir := defaultDataDir()
	return config.Parse(config.App{
		Name:        "semantic",
		Description: "What a platform engineer puts around LLM inference, so that it can be run in production and be proved to be run well.",
		Commands:    cmds, Stdout: stdout, Stderr: stderr,
		Exit: func(code int) { *exited = code; panic(helpShown{}) },
		Vars: kong.Vars{"data_dir": dataDir},
	}, args)
}

// usage marks an error as one of configuration: exit status 2.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", config.ErrUsage, err)
}
