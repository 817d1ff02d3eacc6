package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
)

// keysCmd changes the key file; a proxy that runs reads it again by itself.
type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key and print it, this once: the file holds only its SHA-256."`
	List   keysListCmd   `cmd:"" help:"List the keys with their limits."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key now, and what it has replaced."`
	Rotate keysRotateCmd `cmd:"" help:"Give a key's name and limits to a new key, which is printed; the old one is good for the overlap still."`
}

// keyFile says where the file is.
type keyFile struct {
	Config  string `name:"config" placeholder:"FILE" help:"YAML file of settings; its keys are the names of the flags, of all commands."`
	DataDir string `name:"data-dir" default:"${data_dir}" placeholder:"DIR" help:"Folder for state, made with mode 0700."`
	KeyFile string `name:"key-file" placeholder:"FILE" help:"File of API keys; by default keys.yaml below --data-dir."`
}

func (f *keyFile) path() (string, error) {
	path := f.KeyFile
	if path == "" {
		path = filepath.Join(f.DataDir, "keys.yaml")
	}
	path, err := filepath.Abs(path)
	return path, usage(err)
}

// keyName is a key's name, as an argument or a flag.
type keyName struct {
	Arg  string `arg:"" optional:"" name:"key" help:"Name of the key; or say --name."`
	Flag string `name:"name" env:"-" placeholder:"NAME" help:"Name of the key."`
}

func (n *keyName) get() (string, error) {
	if (n.Arg == "") == (n.Flag == "") {
		return "", usage(errors.New("say which key, once: its name, or --name=NAME"))
	}
	return n.Arg + n.Flag, nil
}

type keysCreateCmd struct {
	File   keyFile `embed:""`
	Name   string  `required:"" env:"-" placeholder:"NAME" help:"Name of the key, for logs, metrics and the other commands: letters, digits and . _ @ + -."`
	Tenant string  `default:"default" env:"-" help:"Whose key it is; tenants see nothing of each other."`

	RequestsPerSecond float64 `name:"requests-per-second" env:"-" placeholder:"N" help:"Requests a second that are served, such as 5 or 0.5; by default no limit."`
	Burst             int     `name:"burst" env:"-" placeholder:"N" help:"Requests above the rate that wait for their turn; more get 429."`
	TokensPerMinute   int64   `name:"tokens-per-minute" env:"-" placeholder:"N" help:"Tokens a minute of prompts and answers together; by default no limit."`
	MaxConcurrent     int     `name:"max-concurrent" env:"-" placeholder:"N" help:"Requests at once; by default no limit."`
	Expires           *period `name:"expires" env:"-" placeholder:"PERIOD" help:"Time until the key ends, such as 90d, 12w or 36h; by default never."`
	Admin             bool    `name:"admin" env:"-" help:"Let the key use /admin."`
}

func (c *keysCreateCmd) Run(w *world) error {
	path, err := c.File.path()
	if err != nil {
		return err
	}
	e := keys.Entry{Name: c.Name, Tenant: c.Tenant, Admin: c.Admin, Limits: limit.Limits{
		RequestsPerSecond: c.RequestsPerSecond, Burst: c.Burst, TokensPerMinute: c.TokensPerMinute, MaxConcurrent: c.MaxConcurrent,
	}}
	if err := e.Check(); err != nil {
		return usage(asFlags(err))
	}
	now := time.Now()
	if e.Expires, err = expiry(c.Expires, now); err != nil {
		return err
	}
	if c.File.KeyFile == "" {
		if err := os.MkdirAll(c.File.DataDir, 0o700); err != nil {
			return usage(fmt.Errorf("cannot make --data-dir: %w", err))
		}
	}
	key, err := keys.Create(path, e, now)
	if err != nil {
		return keyError(err)
	}
	return w.handOut(key, fmt.Sprintf("made the key %s of tenant %s in %s%s", e.Name, e.Tenant, path, until(e.Expires)))
}

type keysRotateCmd struct {
	File    keyFile `embed:""`
	Key     keyName `embed:""`
	Overlap period  `default:"24h" env:"-" help:"Time that the old key is still good for, such as 24h or 7d; 0s ends it now."`
	Expires *period `name:"expires" env:"-" placeholder:"PERIOD" help:"Time until the new key ends, such as 90d; by default the old one's end stays."`
}

func (c *keysRotateCmd) Run(w *world) error {
	name, err := c.Key.get()
	if err != nil {
		return err
	}
	path, err := c.File.path()
	if err != nil {
		return err
	}
	now := time.Now()
	expires, err := expiry(c.Expires, now)
	if err != nil {
		return err
	}
	key, err := keys.Rotate(path, name, time.Duration(c.Overlap), expires, now)
	if err != nil {
		return keyError(err)
	}
	return w.handOut(key, fmt.Sprintf("made a new key for %s in %s; the old one is good until %s", name, path, instant(now.Add(time.Duration(c.Overlap)))))
}

// expiry is when a key ends that was given --expires; without, it is no time.
func expiry(p *period, now time.Time) (time.Time, error) {
	switch {
	case p == nil:
		return time.Time{}, nil
	case *p < period(time.Second):
		return time.Time{}, usage(errors.New("--expires must be a second at least"))
	}
	return now.Add(time.Duration(*p)), nil
}

// handOut prints a key, alone on standard output, so that it can be piped.
func (w *world) handOut(key, what string) error {
	if _, err := fmt.Fprintln(w.stdout, key); err != nil {
		return fmt.Errorf("%s, but cannot print it: rotate or revoke it, since it is shown this once: %w", what, err)
	}
	fmt.Fprintf(w.stderr, "semantic: %s. It is shown this once: keep it. A proxy that runs takes it within seconds.\n", what)
	return nil
}

type keysRevokeCmd struct {
	File keyFile `embed:""`
	Key  keyName `embed:""`
}

func (c *keysRevokeCmd) Run(w *world) error {
	name, err := c.Key.get()
	if err != nil {
		return err
	}
	path, err := c.File.path()
	if err != nil {
		return err
	}
	err = keys.Revoke(path, name, time.Now())
	if errors.Is(err, keys.ErrRevoked) { // what was wanted is so
		fmt.Fprintf(w.stderr, "semantic: %v\n", err)
		return nil
	}
	if err != nil {
		return keyError(err)
	}
	fmt.Fprintf(w.stderr, "semantic: revoked %s in %s. A proxy that runs refuses it within seconds.\n", name, path)
	return nil
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func until(expires time.Time) string {
	if expires.IsZero() {
		return "; it does not expire"
	}
	return "; it expires at " + instant(expires)
}

// keyError gives an error of the key file its exit status: what is wrong in it is a
// matter of configuration.
func keyError(err error) error {
	var bad *keys.FileError
	if errors.As(err, &bad) {
		return usage(err)
	}
	return err
}

// asFlags names flags where the file's fields are named.
func asFlags(err error) error {
	text := err.Error()
	for _, field := range []string{"requests_per_second", "burst:", "tokens_per_minute", "max_concurrent", "name:", "tenant:"} {
		text = strings.ReplaceAll(text, field, "--"+strings.ReplaceAll(field, "_", "-"))
	}
	return errors.New(text)
}
