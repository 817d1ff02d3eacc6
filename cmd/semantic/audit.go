package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/sbom/release"
)

// auditCmd collects in one file what an auditor asks for. Each piece of evidence is what
// one of our own commands prints, which stands beside it, so that everybody can ask again.
type auditCmd struct {
	Output     string        `name:"output" short:"o" required:"" env:"-" placeholder:"FILE" help:"File to write, such as evidence.tar, made with mode 0600."`
	Config     string        `name:"config" placeholder:"FILE" help:"YAML file of settings; its keys are the names of the flags, of all commands."`
	DataDir    string        `name:"data-dir" default:"${data_dir}" placeholder:"DIR" help:"Folder for state of the pod."`
	LogDir     string        `name:"log-dir" placeholder:"DIR" help:"Folder for logs; by default logs below --data-dir."`
	SocketDir  string        `name:"socket-dir" placeholder:"DIR" help:"Folder for the Unix sockets; by default run below --data-dir."`
	KeyFile    string        `name:"key-file" placeholder:"FILE" help:"File of API keys; by default keys.yaml below --data-dir."`
	Prometheus string        `name:"prometheus-url" placeholder:"URL" help:"Address of Prometheus, to prove that the alert rules are in force."`
	ReleaseDir string        `name:"release-dir" placeholder:"DIR" help:"Folder of the signed release that the pod runs, to prove it; needs --release-key."`
	ReleaseKey string        `name:"release-key" env:"-" placeholder:"FILE" help:"PEM file of the Ed25519 public key that signed the release."`
	Timeout    time.Duration `name:"timeout" default:"30s" env:"-" help:"Time for each process of the pod to answer."`
}

// evidence is one file of the bundle.
type evidence struct {
	File    string
	Claim   string
	args    []string // of the command that printed it
	same    bool     // it prints the same whenever it is asked
	Command string
	Content []byte
	Fault   string // why the command failed; "" if it did not
}

func (c *auditCmd) Run(w *world) error {
	if (c.ReleaseDir == "") != (c.ReleaseKey == "") {
		return usage(fmt.Errorf("--release-dir and --release-key prove a release together: say both or neither"))
	}
	if err := c.complete(); err != nil {
		return err
	}
	items := c.items()
	failed := 0
	for i := range items {
		items[i].ask()
		if items[i].Fault != "" {
			failed++
			fmt.Fprintf(w.stderr, "semantic: %s: %s\n", items[i].Command, items[i].Fault)
		}
	}
	if err := writeBundle(c.Output, items, time.Now()); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%s is written, but %d of its %d claims could not be proved; its index says which", c.Output, failed, len(items))
	}
	_, err := fmt.Fprintf(w.stdout, "%s holds %d pieces of evidence, each with the command that proves it; open index.html in it\n", c.Output, len(items))
	return err
}

func (c *auditCmd) complete() error {
	for _, dir := range []struct {
		path  *string
		below string
	}{{&c.DataDir, ""}, {&c.LogDir, "logs"}, {&c.SocketDir, "run"}, {&c.KeyFile, "keys.yaml"}} {
		if *dir.path == "" {
			*dir.path = filepath.Join(c.DataDir, dir.below)
		}
		abs, err := filepath.Abs(*dir.path)
		if err != nil {
			return usage(err)
		}
		*dir.path = abs
	}
	for _, path := range []*string{&c.Config, &c.ReleaseDir, &c.ReleaseKey} { // the commands shall run from anywhere
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return usage(err)
		}
		*path = abs
	}
	return nil
}

// items lists the evidence, in the order of the index.
func (c *auditCmd) items() []evidence {
	config := func(args ...string) []string {
		if c.Config != "" {
			args = append(args, "--config", c.Config)
		}
		return args
	}
	ask := func(process, path string) []string {
		return []string{"probe", "--timeout", c.Timeout.String(), "--socket", filepath.Join(c.SocketDir, process+".sock"), path}
	}
	released := ""
	running := func(process string) []string {
		args := []string{"sbom", "verify"}
		if c.ReleaseDir != "" {
			args = append(args, filepath.Join(c.ReleaseDir, release.SBOMName("semantic_"+runtime.GOOS+"_"+runtime.GOARCH)))
		}
		return append(args, "--socket", filepath.Join(c.SocketDir, process+".sock"))
	}
	if c.ReleaseDir != "" {
		released = " of the release, to the byte"
	}
	sidecar := filepath.Join(c.SocketDir, "sidecar.sock")
	rules := config("rules", "check", "--socket", sidecar)
	if c.Prometheus != "" {
		rules = append(rules, "--prometheus-url", c.Prometheus)
	}
	items := []evidence{
		{File: "version.txt", Claim: "The version and commit of the binary that wrote this.", args: []string{"version"}, same: true},
		{File: "build-proxy.json", Claim: "What the proxy that runs was built from, with the hash of its executable.", args: ask("proxy", "/internal/build"), same: true},
		{File: "build-engine.json", Claim: "The same of the engine.", args: ask("engine", "/internal/build"), same: true},
		{File: "build-sidecar.json", Claim: "The same of the sidecar.", args: ask("sidecar", "/internal/build"), same: true},
		{File: "sbom-proof.txt", Claim: "The binary holds the modules that its SBOM lists, and no other.", args: []string{"sbom", "verify"}, same: true},
		{File: "sbom-proof-proxy.txt", Claim: "The proxy that runs is what the SBOM says" + released + ".", args: running("proxy"), same: true},
		{File: "sbom-proof-engine.txt", Claim: "The same of the engine.", args: running("engine"), same: true},
		{File: "sbom-proof-sidecar.txt", Claim: "The same of the sidecar.", args: running("sidecar"), same: true},
		{File: "sbom.cdx.json", Claim: "What it is made of: CycloneDX 1.6.", args: []string{"sbom", "show"}, same: true},
		{File: "sbom.spdx.json", Claim: "The same in SPDX 2.3.", args: []string{"sbom", "show", "--format", "spdx"}, same: true},
		{File: "licences.txt", Claim: "The licence of each component.", args: []string{"sbom", "show", "--licences"}, same: true},
		{File: "NOTICE", Claim: "Every copyright and licence text.", args: []string{"sbom", "show", "--notice"}, same: true},
		{File: "sidecar-metrics.txt", Claim: "semantic_sbom_drift: 0 for each process whose binary is what the SBOM says.", args: ask("sidecar", "/metrics")},
		{File: "sidecar-state.json", Claim: "How the sidecar's duties stand, and the head of the logs' manifest.", args: ask("sidecar", "/internal/state")},
		{File: "settings-proxy.yaml", Claim: "The settings with which the proxy runs, and where it had each from; secrets are masked.", args: ask("proxy", "/internal/settings"), same: true},
		{File: "settings-engine.yaml", Claim: "The same of the engine.", args: ask("engine", "/internal/settings"), same: true},
		{File: "settings-sidecar.yaml", Claim: "The same of the sidecar.", args: ask("sidecar", "/internal/settings"), same: true},
		{File: "alert-rules.yaml", Claim: "The alert rules that the pod has, with its parameters.", args: []string{"rules", "render", "--socket", sidecar}, same: true},
		{File: "alert-rules-proof.txt", Claim: "The pod's rules are sound; with a Prometheus: it has them and evaluates them without an error.", args: rules},
		{File: "logs-proof.txt", Claim: "No rotated log was removed, reordered or edited.", args: []string{"logs", "verify", c.LogDir}},
		{File: "keys.json", Claim: "The API keys: names, tenants, ages, ends, limits. No key can be told from it.", args: config("keys", "list", "--output", "json", "--data-dir", c.DataDir)},
	}
	if c.KeyFile != filepath.Join(c.DataDir, "keys.yaml") {
		last := &items[len(items)-1]
		last.args = append(last.args, "--key-file", c.KeyFile)
	}
	if c.ReleaseDir != "" {
		items = append(items,
			evidence{File: "release-proof.txt", Claim: "The release is as its key signed it, every byte of it.", args: []string{"verify-release", c.ReleaseDir, "--key", c.ReleaseKey}, same: true},
			evidence{File: "provenance.dsse.json", Claim: "From what the release was built, signed; as the pod serves it.", args: ask("sidecar", "/provenance"), same: true})
	}
	return items
}

// ask runs the command.
func (e *evidence) ask() {
	var stdout, stderr bytes.Buffer
	words := make([]string, len(e.args))
	for i, a := range e.args {
		words[i] = shellWord(a)
	}
	e.Command = "semantic " + strings.Join(words, " ")
	status := run(e.args, &stdout, &stderr)
	e.Content = stdout.Bytes()
	if status != statusOK {
		e.Fault = strings.TrimPrefix(strings.TrimSpace(stderr.String()), "semantic: ")
	} else if e.same {
		e.Command += " | cmp - " + e.File
	}
}

// shellWord quotes an argument for a POSIX shell, if it needs to be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// writeWhole writes a file under its name when it is whole.
func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return usage(fmt.Errorf("cannot write --output: %w", err))
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}
