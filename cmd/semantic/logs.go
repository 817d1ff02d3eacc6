package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/logchain/logsearch"
)

// logsCmd reads the logs of all processes.
type logsCmd struct {
	Show   logsShowCmd   `cmd:"" default:"withargs" help:"Show the lines of one request, from all processes, in the order of time."`
	Verify logsVerifyCmd `cmd:"" help:"Prove from the manifest that no rotated log was removed, reordered or edited."`
}

// logFolder says where the logs are.
type logFolder struct {
	Config  string `name:"config" placeholder:"FILE" help:"YAML file of settings; its keys are the names of the flags, of all commands."`
	DataDir string `name:"data-dir" default:"${data_dir}" placeholder:"DIR" help:"Folder for state, made with mode 0700."`
	LogDir  string `name:"log-dir" placeholder:"DIR" help:"Folder for logs, made with mode 0700; by default logs below --data-dir."`
}

func (f *logFolder) path() (string, error) {
	dir := f.LogDir
	if dir == "" {
		dir = filepath.Join(f.DataDir, "logs")
	}
	dir, err := filepath.Abs(dir)
	return dir, usage(err)
}

type logsVerifyCmd struct {
	Folder     logFolder `embed:""`
	Dir        string    `arg:"" optional:"" placeholder:"DIR" help:"Folder with the logs and their manifest; by default --log-dir."`
	ExpectHead string    `name:"expect-head" env:"-" placeholder:"COUNT:HASH" help:"Head of the chain as it was noted outside of the volume; 12 digits of the hash are enough. It shows a tail that was cut."`
	Key        []string  `name:"key" env:"-" sep:"none" placeholder:"FILE" help:"PEM file of the Ed25519 public key that the entries are signed with; may be given again for an older one."`
}

func (c *logsVerifyCmd) Run(w *world) error {
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = c.Folder.path(); err != nil {
			return err
		}
	}
	expect, err := c.expect()
	if err != nil {
		return usage(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := logchain.Verify(ctx, dir, expect)
	if err != nil {
		return err
	}
	return printReport(w.stdout, dir, r)
}

// expect reads what the folder is held against.
func (c *logsVerifyCmd) expect() (logchain.Expect, error) {
	var e logchain.Expect
	if c.ExpectHead != "" {
		head, err := logchain.ParseHead(c.ExpectHead)
		if err != nil {
			return e, fmt.Errorf("--expect-head: %w", err)
		}
		e.Head = &head
	}
	for _, path := range c.Key {
		key, err := logchain.ReadPublicKey(path)
		if err != nil {
			return e, fmt.Errorf("cannot read --key=%s: %w", path, err)
		}
		e.Keys = append(e.Keys, key)
	}
	return e, nil
}

// maxFaults bounds how many faults are printed beside the first.
const maxFaults = 20

// printReport prints what was found. The first fault is the error.
func printReport(out io.Writer, dir string, r logchain.Report) error {
	for i, f := range r.Faults {
		if i > maxFaults {
			fmt.Fprintf(out, "and %d more\n", len(r.Faults)-i)
			break
		}
		fmt.Fprintf(out, "FAULT %s\n", f)
	}
	for _, n := range r.Notices {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	if len(r.Faults) > 0 {
		return fmt.Errorf("%s is not as its manifest says, first: %s", dir, r.Faults[0])
	}
	_, err := fmt.Fprintf(out, "proved: %d files as they were written, %d removed by retention, %d shipped; %d entries, %d with a good signature\nhead: %s\n",
		r.Files, r.Removed, r.Shipped, r.Head.Count, r.Signed, r.Head)
	return err
}

type logsShowCmd struct {
	Folder    logFolder `embed:""`
	RequestID string    `name:"request-id" env:"-" placeholder:"ID" help:"X-Request-ID of the request."`
	Follow    bool      `name:"follow" short:"f" env:"-" help:"Go on with what is written from now on, until interrupted."`
}

func (c *logsShowCmd) Run(w *world) error {
	if c.RequestID == "" {
		return usage(errors.New("say which request: --request-id=ID; the ID is in the answer's X-Request-ID"))
	}
	dir, err := c.Folder.path()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	reader, err := logsearch.New(dir, c.RequestID)
	if err != nil {
		return usage(err)
	}
	defer reader.Close()
	print := newLinePrinter(w.stdout)
	found, err := reader.Read(ctx)
	if err == nil {
		err = print.lines(found)
	}
	if err != nil {
		return ended(ctx, err)
	}
	if c.Follow {
		return ended(ctx, reader.Follow(ctx, print.lines))
	}
	if len(found) == 0 {
		return fmt.Errorf("no line of request %s is in the logs of %s", c.RequestID, dir)
	}
	return nil
}

// ended turns the error that an interrupt brought into an orderly end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
