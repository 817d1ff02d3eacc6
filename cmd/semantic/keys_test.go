package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
)

// semantic runs the command line in this process.
func semantic(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

func must(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := semantic(args...)
	if status != statusOK {
		t.Fatalf("semantic %q: status %d: %s", args, status, stderr)
	}
	return stdout, stderr
}

// login tells whom a key belongs to, or why to nobody, as the proxy would see it.
func login(t *testing.T, file, key string, at time.Time) string {
	t.Helper()
	s, _, err := keys.Open(keys.Config{File: file, Table: limit.NewTable(at, limit.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	id, why := s.Lookup([]byte(key), at)
	if id == nil {
		return string(why)
	}
	return id.Tenant + "/" + id.Key
}

var aKey = regexp.MustCompile(`^sk-sem-[0-9A-Za-z]{49}\n$`)

func TestKeyIsMadeListedRotatedAndRevoked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	printed, said := must(t, "keys", "create", "--key-file", file, "--name", "ci", "--tenant", "acme", "--requests-per-second", "5",
		"--burst", "10", "--tokens-per-minute", "60000", "--max-concurrent", "4", "--expires", "90d", "--admin")
	if !aKey.MatchString(printed) || strings.Contains(said, printed[:20]) || !strings.Contains(said, "ci of tenant acme") {
		t.Errorf("printed %q, said %q", printed, said)
	}
	first, now := strings.TrimSpace(printed), time.Now()
	if got := login(t, file, first, now); got != "acme/ci" {
		t.Errorf("logged in as %s", got)
	}
	if got := login(t, file, first, now.Add(91*24*time.Hour)); got != "expired" {
		t.Errorf("after 91 days: %s", got)
	}
	checkListed(t, file, now)

	printed, _ = must(t, "keys", "rotate", "ci", "--overlap", "1d", "--key-file", file)
	second := strings.TrimSpace(printed)
	for key, want := range map[string]string{first: "revoked", second: "acme/ci"} {
		if got := login(t, file, key, now); got != "acme/ci" {
			t.Errorf("in the overlap: %s", got)
		}
		if got := login(t, file, key, now.Add(25*time.Hour)); got != want {
			t.Errorf("after the overlap: %s, want %s", got, want)
		}
	}
	must(t, "keys", "revoke", "--name", "ci", "--key-file", file)
	if got := login(t, file, second, time.Now()); got != "revoked" {
		t.Errorf("after the revocation: %s", got)
	}
	if _, said := must(t, "keys", "revoke", "ci", "--key-file", file); !strings.Contains(said, "the key is revoked already, since 20") {
		t.Errorf("revoked again: %s", said)
	}
	if table, _ := must(t, "keys", "list", "--key-file", file); !strings.Contains(table, "revoked") {
		t.Errorf("list:\n%s", table)
	}
}

func checkListed(t *testing.T, file string, now time.Time) {
	t.Helper()
	table, _ := must(t, "keys", "list", "--key-file", file)
	lines := strings.Split(strings.TrimSpace(table), "\n")
	want := []string{"ci", "acme", "active", "5", "10", "60000", "4", "yes"}
	if len(lines) != 2 || strings.Join(strings.Fields(lines[1])[:8], " ") != strings.Join(want, " ") {
		t.Errorf("table:\n%s", table)
	}
	text, _ := must(t, "keys", "list", "--key-file", file, "--output", "json")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(text), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	for name, want := range map[string]any{
		"name": "ci", "tenant": "acme", "state": "active", "requests_per_second": 5.0, "burst": 10.0,
		"tokens_per_minute": 60000.0, "max_concurrent": 4.0, "admin": true,
	} {
		if rows[0][name] != want {
			t.Errorf("%s is %v, want %v", name, rows[0][name], want)
		}
	}
	expires, err := time.Parse(time.RFC3339, rows[0]["expires"].(string))
	if left := expires.Sub(now); err != nil || left < 90*24*time.Hour-time.Minute || left > 90*24*time.Hour+time.Minute {
		t.Errorf("expires %v, error %v", expires, err)
	}
}

func TestKeyFileIsBelowTheDataFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if out, said := must(t, "keys", "list", "--data-dir", dir, "-o", "json"); strings.TrimSpace(out) != "[]" || !strings.Contains(said, "keys create") {
		t.Errorf("without a file: %q, %q", out, said)
	}
	must(t, "keys", "create", "--data-dir", dir, "--name", "ci")
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "keys.yaml"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, error %v", path, info.Mode(), err)
		}
	}
	t.Setenv("SEMANTIC_KEY_FILE", filepath.Join(dir, "keys.yaml"))
	if out, _ := must(t, "keys", "list"); !strings.Contains(out, "ci") {
		t.Errorf("named by the environment:\n%s", out)
	}
}

func TestEveryBadKeyCommandSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	must(t, "keys", "create", "--key-file", good, "--name", "ci")
	if err := os.WriteFile(bad, []byte("keys:\n- name: ci\n  color: red\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no name":            {[]string{"create", "--key-file", good}, 2, "--name"},
		"bad name":           {[]string{"create", "--key-file", good, "--name", "a b"}, 2, `--name: "a b": only letters`},
		"bad tenant":         {[]string{"create", "--key-file", good, "--name", "x", "--tenant", "a/b"}, 2, `--tenant: "a/b"`},
		"bad rate":           {[]string{"create", "--key-file", good, "--name", "x", "--requests-per-second=-1"}, 2, "--requests-per-second: -1 is out of range"},
		"burst alone":        {[]string{"create", "--key-file", good, "--name", "x", "--burst", "3"}, 2, "--burst: 3 means nothing without --requests-per-second"},
		"bad number":         {[]string{"create", "--key-file", good, "--name", "x", "--tokens-per-minute", "many"}, 2, "--tokens-per-minute"},
		"bad period":         {[]string{"create", "--key-file", good, "--name", "x", "--expires", "soon"}, 2, `"soon" is no period`},
		"ends at once":       {[]string{"create", "--key-file", good, "--name", "x", "--expires", "0d"}, 2, "--expires must be"},
		"name taken":         {[]string{"create", "--key-file", good, "--name", "ci"}, 1, "cannot create ci: there is a key of that name already"},
		"bad file":           {[]string{"create", "--key-file", bad, "--name", "x"}, 2, bad + `:3: unknown field "color"`},
		"list a bad file":    {[]string{"list", "--key-file", bad}, 2, bad + `:3: unknown field "color"`},
		"list no file":       {[]string{"list", "--key-file", dir + "/none.yaml"}, 1, "none.yaml"},
		"bad form":           {[]string{"list", "--key-file", good, "--output", "xml"}, 2, "--output"},
		"revoke nobody":      {[]string{"revoke", "nobody", "--key-file", good}, 1, "cannot revoke nobody: there is no key of that name"},
		"revoke nothing":     {[]string{"revoke", "--key-file", good}, 2, "say which key"},
		"rotate two":         {[]string{"rotate", "a", "--name", "b", "--key-file", good}, 2, "say which key"},
		"rotate nobody":      {[]string{"rotate", "nobody", "--key-file", good}, 1, "cannot rotate nobody"},
		"overlap of nothing": {[]string{"rotate", "ci", "--overlap", "-1h", "--key-file", good}, 2, "overlap"},
		"no folder":          {[]string{"create", "--name", "x", "--key-file", dir + "/no/keys.yaml"}, 1, "cannot lock the key file"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, said := semantic(append([]string{"keys"}, test.args...)...)
			if status != test.status || out != "" || !strings.Contains(said, test.want) {
				t.Errorf("status %d, printed %q, said %q\nwant %d and %s", status, out, said, test.status, test.want)
			}
		})
	}
}

// fullDisk is a standard output that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestKeyThatCannotBePrintedIsTold(t *testing.T) {
	var said bytes.Buffer
	status := run([]string{"keys", "create", "--key-file", filepath.Join(t.TempDir(), "keys.yaml"), "--name", "ci"}, fullDisk{}, &said)
	if status != statusFailure || !strings.Contains(said.String(), "rotate or revoke it") {
		t.Errorf("status %d, said %q", status, said.String())
	}
}

func TestPeriods(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * day, "2w": 14 * day, "1w1d": 8 * day, "1d12h": 36 * time.Hour, "24h": day, "0s": 0, "1h30m": 90 * time.Minute,
	} {
		var p period
		if err := p.UnmarshalText([]byte(text)); err != nil || time.Duration(p) != want {
			t.Errorf("%s is %v, error %v", text, time.Duration(p), err)
		}
	}
	for _, text := range []string{"", "d", "90", "1y", "-1d", "1d-2h", "1.5d", "999999w", "99999999d", "9999999h", "1h1d"} {
		var p period
		if err := p.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %v", text, time.Duration(p))
		}
	}
}
