package keys

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

func TestFileGivesIdentitiesWithLimits(t *testing.T) {
	key := generate()
	s := open(t, Config{File: keyFile(t, "# head\nkeys: # list\n\n"+entry("ci", key,
		"  created: 2026-01-02T03:04:05+01:00", "  requests_per_second: 0.5", "  burst: 10",
		"  tokens_per_minute: 60000", "  max_concurrent: 4", "  admin: true")+"# foot\n")})
	id, why := s.Lookup([]byte(key), now)
	if id == nil {
		t.Fatal(why)
	}
	want := Identity{Key: "ci", Tenant: "acme", Label: "ci", Admin: true, Limit: id.Limit,
		Limits: limit.Limits{RequestsPerSecond: 0.5, Burst: 10, TokensPerMinute: 60000, MaxConcurrent: 4}}
	if *id != want || id.Limit == nil {
		t.Errorf("got %+v, want %+v", *id, want)
	}
}

func TestEmptyFilesHoldNoKeys(t *testing.T) {
	for _, text := range []string{"keys:", "keys: []\n", "keys:\n# none\n", "---\nkeys:\n", heading} {
		s := open(t, Config{File: keyFile(t, text)})
		if s.Loaded() != 0 || !s.Required() {
			t.Errorf("%q: %d keys, required %v", text, s.Loaded(), s.Required())
		}
	}
}

func TestEveryBadFileIsRefusedWithItsLine(t *testing.T) {
	sum := fmt.Sprintf("%x", digestOf([]byte("a")))
	head := "keys:\n- name: ci\n  tenant: acme\n  sha256: " + sum + "\n"
	second := "- name: other\n  tenant: acme\n  sha256: " + fmt.Sprintf("%x", digestOf([]byte("b"))) + "\n"
	secret := generate()
	for name, test := range map[string]struct{ text, want string }{
		"unknown field":       {head + "  requests_per_minute: 5\n", `:5: unknown field "requests_per_minute"`},
		"unknown at top":      {head + "users: []\n", `:5: unknown field "users"`},
		"field twice":         {head + "  tenant: b\n", `:5: "tenant" is there twice`},
		"keys twice":          {head + "keys: []\n", `keys`},
		"name twice":          {head + strings.ReplaceAll(second, "other", "ci"), ":5: the name ci is taken: see "},
		"digest twice":        {head + "- name: other\n  tenant: acme\n  sha256: " + strings.ToUpper(sum) + "\n", ":5: the key of other is there already: see "},
		"previous is current": {head + second + "  previous:\n  - sha256: " + sum + "\n    revoked: 2026-01-01\n", ":9: a previous key of other is there already"},
		"no name":             {"keys:\n- tenant: a\n  sha256: " + sum + "\n", ":2: the key has no name"},
		"no digest":           {"keys:\n- name: a\n  tenant: a\n", ":2: the key has no sha256"},
		"no tenant":           {"keys:\n- name: a\n  sha256: " + sum + "\n", ":2: the key has no tenant"},
		"bad name":            {"keys:\n- name: a b\n", `:2: name: "a b": only letters`},
		"header in tenant":    {"keys:\n- name: a\n  tenant: \"a\\r\\nX: y\"\n", `:3: tenant: "a\r\nX: y": only letters`},
		"empty value":         {"keys:\n- name:\n", ":2: name: expected one value"},
		"null value":          {"keys:\n- name: ~\n", ":2: name: expected one value"},
		"list for value":      {"keys:\n- name: [a]\n", ":2: name: expected one value"},
		"alias":               {"keys:\n- name: &n a\n  tenant: *n\n", ":3: tenant: expected one value"},
		"merge":               {"keys:\n- &x\n  name: a\n- <<: *x\n", `: the key has no tenant`},
		"short digest":        {"keys:\n- sha256: abc\n", ":2: sha256: expected the 64 hexadecimal digits of a SHA-256, got a text of 3 characters"},
		"key for digest":      {"keys:\n- sha256: " + secret + "\n", ":2: sha256: expected the 64 hexadecimal digits"},
		"key for name":        {"keys:\n- name: " + secret + "\n", ":2: name: a text of 56 characters"},
		"key for field":       {"keys:\n- " + secret + ": ci\n", ":2: unknown field a text of 56 characters"},
		"bad time":            {head + "  expires: tomorrow\n", `:5: expires: expected a time such as 2026-01-02T03:04:05Z or a date such as 2026-01-02, got "tomorrow"`},
		"time zero":           {head + "  expires: 0001-01-01\n", ":5: expires: expected a time"},
		"bad rate":            {head + "  requests_per_second: fast\n", `:5: requests_per_second: expected a number, got "fast"`},
		"rate of nothing":     {head + "  requests_per_second: 0\n", ":5: requests_per_second: expected a number above 0: leave the line out for no limit"},
		"rate below zero":     {head + "  requests_per_second: -2\n", ":2: key ci: requests_per_second: -2 is out of range"},
		"no number":           {head + "  requests_per_second: .nan\n", ":5: requests_per_second: expected a number"},
		"burst alone":         {head + "  burst: 3\n", ":2: key ci: burst: 3 means nothing without requests_per_second"},
		"fraction of a token": {head + "  tokens_per_minute: 1.5\n", `:5: tokens_per_minute: expected a whole number, got "1.5"`},
		"no requests at once": {head + "  max_concurrent: 0\n", ":5: max_concurrent: expected a number above 0"},
		"bad bool":            {head + "  admin: yes\n", `:5: admin: expected true or false, got "yes"`},
		"bad previous":        {head + "  previous: " + sum + "\n", ":5: previous: expected a list"},
		"endless previous":    {head + "  previous:\n  - sha256: " + sum + "\n", ":6: the key has no revoked"},
		"previous with name":  {head + "  previous:\n  - name: a\n", `:6: unknown field "name" of a previous key`},
		"no list":             {"keys: 3\n", ":1: expected a list under `keys:`"},
		"list at top":         {"- name: a\n", ":1: expected a list under `keys:`"},
		"text":                {"hello\n", ":1: expected a list under `keys:`"},
		"no entry":            {"keys:\n- ci\n", ":2: expected the fields of a key"},
		"no YAML":             {head + "  a: b: c\n", ":5: mapping values are not allowed"},
		"tab":                 {"keys:\n\t- name: a\n", ":2: found character that cannot start any token"},
		"two documents":       {head + "---\nkeys: []\n", ":5: expected one document"},
		"nothing":             {"", ":1: there is no `keys:` in it"},
		"comments only":       {"# keys:\n", ":1: there is no `keys:` in it"},
		"binary":              {"keys:\x00\n", ":1: control characters are not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			path := keyFile(t, test.text)
			_, _, err := Open(Config{File: path, Table: limit.NewTable(now, limit.Options{})})
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v\nwant it to hold %s", err, test.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestFileThatOthersCanWriteIsRefused(t *testing.T) {
	path := keyFile(t, "keys:\n")
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: false, 0o644: false, 0o660: true, 0o602: true, 0o666: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, r, err := Open(Config{File: path, Table: limit.NewTable(now, limit.Options{})})
		if refused != (err != nil && strings.Contains(err.Error(), "chmod 600")) {
			t.Errorf("mode %o: %v", mode, err)
		}
		if warned := strings.Contains(r.Warning, "can be read by others"); !refused && warned != (mode&0o044 != 0) {
			t.Errorf("mode %o: warning %q", mode, r.Warning)
		}
	}
}

func TestWhatIsNoFileIsRefusedAtOnce(t *testing.T) {
	pipe := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir(), t.TempDir() + "/missing"} {
		done := make(chan error, 1)
		go func() {
			_, _, err := Open(Config{File: path, Table: limit.NewTable(now, limit.Options{})})
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "--key-file") {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: still being read", path)
		}
	}
	s := open(t, Config{File: t.TempDir() + "/missing", Optional: true})
	if s.Loaded() != 0 || s.Required() {
		t.Errorf("%d keys, required %v", s.Loaded(), s.Required())
	}
	s = open(t, Config{File: t.TempDir() + "/missing", Optional: true, Environ: "ci:0123456789abcdef0123456789abcdef"})
	if s.Loaded() != 1 || !s.Required() {
		t.Errorf("%d keys with one in the environment, required %v", s.Loaded(), s.Required())
	}
}

func FuzzKeyFile(f *testing.F) {
	sum := fmt.Sprintf("%x", digestOf([]byte("a")))
	for _, seed := range []string{
		"", heading, "keys:\n- name: ci\n  tenant: acme\n  sha256: " + sum + "\n  burst: 1\n  requests_per_second: 5\n",
		"keys: [{name: a, tenant: b, sha256: " + sum + ", expires: 2026-01-01}]\n",
		"# c\r\nkeys:\r\n  - name: 'a'\r\n    tenant: \"b\" # x\r\n    sha256: " + sum + "\r\n    previous:\r\n      - {sha256: 00, revoked: 2026-01-01}\r\n",
		"keys: &a\n- *a\n", "keys:\n- name: |\n    a\n  tenant: >-\n    b\n  sha256: " + sum, "--- \nkeys:\n...\n---\n", "? [a]\n: b\n", "keys:\n- ? {a: b}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse("f", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		if err := checkUnique(d.entries); err != nil {
			t.Fatal(err)
		}
		newSet(d.entries, make([]Identity, len(d.entries)))
		edits(t, text)
	})
}

// edits runs each change on a file of any form: it must do what it says, or say that
// it cannot and leave the file as it was.
func edits(t *testing.T, text string) {
	d, _ := parse("f", []byte(text))
	for i := range d.entries {
		for range 2 {
			e := newEditor(must(parse("f", []byte(text))))
			e.entries[i].Revoked = stamp(now)
			e.set(i, "revoked", now.Format(time.RFC3339))
			e.addPrevious(i, Previous{Digest: digestOf([]byte("old")), Revoked: now})
			e.bytes()
		}
	}
	e := newEditor(d)
	e.append(Entry{Name: "new-one", Tenant: "t", Digest: digestOf([]byte("new")), Created: now})
	after := e.bytes()
	if e.check(after) == nil {
		if _, err := parse("f", after); err != nil {
			t.Fatalf("checked and refused: %v", err)
		}
	}
}

func must(d *document, err error) *document {
	if err != nil {
		panic(err)
	}
	return d
}

func FuzzPresentedKey(f *testing.F) {
	good := generate()
	set := newSet([]Entry{{Name: "ci", Digest: digestOf([]byte(good))}}, []Identity{{Key: "ci"}})
	for _, seed := range []string{"", good, good[:55], generate(), "sk-sem-", "Bearer x", strings.Repeat("z", 56), "sk-sem-" + strings.Repeat("z", 49)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, presented []byte) {
		before := string(presented)
		id, why := set.lookup(presented, now)
		if (why == Known) != (before == good) || (id == nil) == (why == Known) {
			t.Fatalf("%q: %v, %v", presented, id, why)
		}
		if string(presented) != before {
			t.Fatalf("%q was changed to %q", before, presented)
		}
		if why != Known && (why == Unknown) != wellFormed(presented) {
			t.Fatalf("%q: %v", presented, why)
		}
	})
}
