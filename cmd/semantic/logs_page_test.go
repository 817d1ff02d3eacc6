package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/sidecar"
	"github.com/semantic-pod/semantic/telemetry"
)

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// pageCommands returns the commands of docs/logs.md in their order.
func pageCommands(t testing.TB) (makeKey, chain, files, tombstones, content, signature string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## Checking the manifest without Semantic\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := shellBlock.FindAllStringSubmatch(section, -1)
	if !ok || len(blocks) != 6 {
		t.Fatalf("the page has %d blocks of commands, want 6", len(blocks))
	}
	return blocks[0][1], blocks[1][1], blocks[2][1], blocks[3][1], blocks[4][1], blocks[5][1]
}

// shell runs commands as a person would paste them.
func shell(t testing.TB, dir, commands string) (string, error) {
	t.Helper()
	for _, tool := range []string{"sha256sum", "openssl", "zstd", "base64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf(`%s is missing (Debian packages coreutils, openssl, zstd): run "make test-setup"`, tool)
		}
	}
	cmd := exec.Command("sh", "-c", commands)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// An auditor needs nothing of ours: the page's commands prove what the sidecar
// wrote, and find what was changed.
func TestPageShowsAnAuditorHowToCheck(t *testing.T) {
	makeKey, chain, files, tombstones, content, signature := pageCommands(t)
	p := newLogPod(t)
	if out, err := shell(t, p.dir, makeKey); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	head := p.signedSidecar(filepath.Join(p.dir, "key.pem"))
	expect := func(commands, says string) {
		t.Helper()
		if out, err := shell(t, p.dir, commands); err != nil || !strings.Contains(out, says) {
			t.Errorf("%v, and not %q:\n%s", err, says, out)
		}
	}
	expect(chain, "head: "+head+"\n")
	expect(files, ".zst: OK\n")
	expect(tombstones, "")
	expect(content, ".zst: OK\n")
	expect(signature, "Signature Verified Successfully")
	if status, out, stderr := semantic("logs", "verify", p.dir, "--key", filepath.Join(p.dir, "pub.pem"), "--expect-head", head); status != 0 {
		t.Errorf("semantic logs verify: %d\n%s%s", status, out, stderr)
	}

	manifest := filepath.Join(p.dir, "manifest.jsonl")
	archives, _ := filepath.Glob(filepath.Join(p.dir, "*.zst"))
	slices.Sort(archives)
	refuse := func(path string, change func(string) string, commands, says string) {
		t.Helper()
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if changed := change(string(good)); changed == "" {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, []byte(changed), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if out, err := shell(t, p.dir, commands); err == nil || !strings.Contains(out, says) {
			t.Errorf("%v, want a failure and %q:\n%s", err, says, out)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Base(archives[1])
	longer := func(s string) string { return s + "x" }
	another := func(s string) string { return s[:len(s)/2] + string(s[len(s)/2]^1) + s[len(s)/2+1:] }
	gone := func(string) string { return "" }
	refuse(archives[1], longer, files, name+": FAILED")
	refuse(archives[1], another, content, name+" says something else")
	refuse(archives[1], gone, tombstones, name+" was removed")
	refuse(manifest, func(s string) string { return strings.Replace(s, `"lines":`, `"lines":1`, 1) }, chain, "does not follow")
	refuse(manifest, func(s string) string { return s[strings.Index(s, "\n")+1:] }, chain, "entry 1 does not follow")
	refuse(manifest, func(s string) string {
		last := strings.LastIndex(s, `"n":`)
		return s[:last] + strings.Replace(s[last:], `"time":"2`, `"time":"3`, 1)
	}, signature, "Verification Failure")
}

// signedSidecar lets a sidecar archive some files and remove some of them, and
// returns the head of its manifest.
func (p *logPod) signedSidecar(key string) (head string) {
	p.t.Helper()
	var stderr syncBuffer
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "sidecar", Level: "error", Dir: p.t.TempDir(), Stderr: &stderr})
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := sidecar.New(sidecar.Config{
		Listen: "127.0.0.1:0", CheckInterval: 10 * time.Millisecond, RotateBytes: 64 << 10, Keep: 2, LogDir: p.dir,
		RetainErrors: sidecar.Age(time.Hour), SignKey: key,
	}, log)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		p.t.Fatal(err)
	}
	manifest := filepath.Join(p.dir, "manifest.jsonl")
	for tombstones := 0; tombstones < 2; {
		p.log("req-1", 10)
		text, _ := os.ReadFile(manifest)
		tombstones = strings.Count(string(text), `"kind":"tombstone"`)
	}
	p.waitArchived()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		p.t.Fatal(err)
	}
	log.Close()
	told := regexp.MustCompile(`"head":"([0-9]+:[0-9a-f]{64})"`).FindAllStringSubmatch(stderr.String(), -1)
	if len(told) == 0 {
		p.t.Fatalf("no head was told:\n%s", stderr.String())
	}
	return told[len(told)-1][1]
}
