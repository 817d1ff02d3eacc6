package keys

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

func TestCreatedKeyIsFoundAndStoredAsADigestOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	limits := limit.Limits{RequestsPerSecond: 0.5, Burst: 10, TokensPerMinute: 60000, MaxConcurrent: 4}
	key, err := Create(path, Entry{Name: "ci", Tenant: "acme", Limits: limits, Admin: true, Expires: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if strings.Contains(content(t, path), key[7:20]) {
		t.Error("the key is in the file")
	}
	s := open(t, Config{File: path})
	id, why := s.Lookup([]byte(key), now)
	if id == nil || id.Key != "ci" || id.Tenant != "acme" || id.Limits != limits || !id.Admin {
		t.Errorf("%+v, %v", id, why)
	}
	expect(t, "an hour later", who(s, key, now.Add(time.Hour)), "nobody: expired")
	if _, err := Create(path, Entry{Name: "ci", Tenant: "acme"}, now); !errors.Is(err, ErrTaken) {
		t.Errorf("the same name again: %v", err)
	}
}

func TestNamesThatYAMLTakesForSomethingElseSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	var want []string
	for _, name := range []string{"true", "null", "1e5", "0x1F", "2026-01-01", "12", "no", "a@b.c", "k+1", "1_000"} {
		if _, err := Create(path, Entry{Name: name, Tenant: name}, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want = append(want, name)
	}
	entries, err := Read(path)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", "a b", "-a", "ü", "a\n", strings.Repeat("x", 65), generate()} {
		if _, err := Create(path, Entry{Name: bad, Tenant: "t"}, now); err == nil {
			t.Errorf("%q was taken as a name", bad)
		}
	}
}

// handmade is a file as a person may write it.
const handmade = `# Keys of the lab.

keys:

    # The build server. Ask Ann before revoking.
    - name: ci   # nightly
      tenant: acme
      sha256: "%x"   # made by hand
      expires: 2026-12-31   # end of contract
      requests_per_second: 5

    - tenant: acme
      sha256: %x
      name: 'ann'
# end
`

func TestChangesLeaveEverythingElseAsItIs(t *testing.T) {
	ci, ann := generate(), generate()
	before := fmt.Sprintf(handmade, digestOf([]byte(ci)), digestOf([]byte(ann)))
	for name, change := range map[string]func(path string) ([]string, error){
		"create": func(path string) ([]string, error) {
			_, err := Create(path, Entry{Name: "new", Tenant: "acme"}, now)
			return []string{"    - name: new", "      tenant: acme", "      sha256: ", "      created: 2026-05-06T07:08:09Z"}, err
		},
		"revoke": func(path string) ([]string, error) {
			err := Revoke(path, "ann", now)
			return []string{"      revoked: 2026-05-06T07:08:09Z"}, err
		},
		"rotate": func(path string) ([]string, error) {
			_, err := Rotate(path, "ci", time.Hour, now.Add(48*time.Hour), now)
			return []string{`      sha256: "`, "      previous:", "        - sha256: ", "          revoked: 2026-05-06T08:08:09Z", "      expires: 2026-05-08T07:08:09Z   # end of contract"}, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := keyFile(t, before)
			want, err := change(path)
			if err != nil {
				t.Fatal(err)
			}
			after := content(t, path)
			var added []string
			old := strings.SplitAfter(before, "\n")
			for _, line := range strings.SplitAfter(after, "\n") {
				if len(old) > 0 && line == old[0] {
					old = old[1:]
					continue
				}
				if len(old) > 0 && len(added) < len(want) && strings.Contains(old[0], strings.TrimSpace(line)[:4]) {
					old = old[1:] // a line that was changed
				}
				added = append(added, line)
			}
			if len(old) > 0 && strings.Join(old, "") != "" || len(added) != len(want) {
				t.Fatalf("lines lost: %q\nadded: %q\nin\n%s", old, added, after)
			}
			for i := range want {
				if !strings.HasPrefix(added[i], want[i]) {
					t.Errorf("added %q, want %q", added[i], want[i])
				}
			}
		})
	}
}

func TestRotationOverlaps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	first, err := Create(path, Entry{Name: "ci", Tenant: "acme"}, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Rotate(path, "ci", 24*time.Hour, time.Time{}, now)
	if err != nil {
		t.Fatal(err)
	}
	third, err := Rotate(path, "ci", time.Hour, time.Time{}, now)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{File: path})
	for at, want := range map[time.Duration][3]string{
		0:              {"acme/ci", "acme/ci", "acme/ci"},
		time.Hour:      {"acme/ci", "nobody: revoked", "acme/ci"},
		24 * time.Hour: {"nobody: revoked", "nobody: revoked", "acme/ci"},
	} {
		for i, key := range []string{first, second, third} {
			expect(t, fmt.Sprintf("key %d after %v", i+1, at), who(s, key, now.Add(at)), want[i])
		}
	}
	if s.Loaded() != 1 {
		t.Errorf("%d keys loaded", s.Loaded())
	}
	entries, err := Read(path)
	if err != nil || !entries[0].Overlap(now).Equal(now.Add(24*time.Hour)) || !entries[0].Overlap(now.Add(48*time.Hour)).IsZero() {
		t.Errorf("overlap %v, error %v", entries[0].Overlap(now), err)
	}
	if err := Revoke(path, "ci", now); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	for i, key := range []string{first, second, third} {
		expect(t, fmt.Sprintf("key %d after the revocation", i+1), who(s, key, now), "nobody: revoked")
	}
	if err := Revoke(path, "ci", now.Add(time.Hour)); !errors.Is(err, ErrRevoked) || !strings.Contains(err.Error(), "since 2026-05-06T07:08:09Z") {
		t.Errorf("revoked again: %v", err)
	}
}

func TestKeysThatCannotBeChangedAreNamed(t *testing.T) {
	path := keyFile(t, "keys:\n"+entry("late", "a", "  expires: 2026-01-01")+entry("gone", "b", "  revoked: 2026-01-01"))
	before := content(t, path)
	for name, want := range map[string]error{"nobody": ErrNoKey, "late": ErrExpired, "gone": ErrRevoked} {
		if _, err := Rotate(path, name, 0, time.Time{}, now); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("rotate %s: %v", name, err)
		}
	}
	if err := Revoke(path, "nobody", now); !errors.Is(err, ErrNoKey) {
		t.Errorf("revoke: %v", err)
	}
	expect(t, "the file", content(t, path), before)
	if _, err := Rotate(path, "late", 0, now.Add(time.Hour), now); err != nil {
		t.Errorf("with a new expiry: %v", err)
	}
	if err := Revoke(filepath.Join(t.TempDir(), "none.yaml"), "x", now); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestFileOfAFormThatCannotBeChangedStaysAsItIs(t *testing.T) {
	for _, text := range []string{
		fmt.Sprintf("keys: [{name: ci, tenant: acme, sha256: %x}]\n", digestOf([]byte("a"))),
		fmt.Sprintf("{keys: [{name: ci, tenant: acme, sha256: %x}]}\n", digestOf([]byte("a"))),
		fmt.Sprintf("keys:\n- {name: ci, tenant: acme, sha256: %x}\n...\n", digestOf([]byte("a"))),
	} {
		path := keyFile(t, text)
		_, err := Create(path, Entry{Name: "new", Tenant: "acme"}, now)
		if err == nil || !strings.Contains(err.Error(), "one field a line") {
			t.Errorf("create in %q: %v", text, err)
		}
		if err := Revoke(path, "ci", now); err == nil || !strings.Contains(err.Error(), "one field a line") {
			t.Errorf("revoke in %q: %v", text, err)
		}
		expect(t, "the file", content(t, path), text)
	}
	for _, text := range []string{"", "\n", "# c", "keys:", "keys:\r\n", "---\n"} {
		path := keyFile(t, text)
		if _, err := Create(path, Entry{Name: "new", Tenant: "acme"}, now); err != nil {
			t.Errorf("create in %q: %v", text, err)
		}
	}
	path := keyFile(t, "keys:\n- broken\n")
	var bad *FileError
	if _, err := Create(path, Entry{Name: "new", Tenant: "acme"}, now); !errors.As(err, &bad) {
		t.Errorf("create in a bad file: %v", err)
	}
}

// TestManyCommandsLoseNoKey runs changes from several processes at once.
func TestManyCommandsLoseNoKey(t *testing.T) {
	if path := os.Getenv("KEYS_TEST_CREATE"); path != "" {
		for i := range 10 {
			if _, err := Create(path, Entry{Name: fmt.Sprintf("p%d-%d", os.Getpid(), i), Tenant: "t"}, now); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	path := filepath.Join(t.TempDir(), "keys.yaml")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestManyCommandsLoseNoKey$")
			cmd.Env = append(os.Environ(), "KEYS_TEST_CREATE="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	entries, err := Read(path)
	if err != nil || len(entries) != 40 {
		t.Errorf("%d keys, error %v", len(entries), err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestLinkToTheFileStaysALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "keys.yaml")
	write(t, real, "keys:\n")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(link, Entry{Name: "ci", Tenant: "acme"}, now); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if entries, err := Read(real); err != nil || len(entries) != 1 {
		t.Errorf("%d entries behind the link, %v", len(entries), err)
	}
}

func TestFolderThatCannotBeWrittenIsAnErrorAndNoLoss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no-such-folder", "keys.yaml")
	if _, err := Create(path, Entry{Name: "ci", Tenant: "acme"}, now); err == nil || !strings.Contains(err.Error(), "cannot lock the key file") {
		t.Errorf("got %v", err)
	}
}

// TestFileIsTheFolderOwners: root may run the command, and the proxy must be able to
// read what it wrote.
func TestFileIsTheFolderOwners(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 4321, 4321); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "keys.yaml")
	for _, name := range []string{"one", "two"} {
		if _, err := Create(path, Entry{Name: name, Tenant: "acme"}, now); err != nil {
			t.Fatal(err)
		}
		for _, made := range []string{path, path + ".lock"} {
			if got, want := owner(t, made), owner(t, dir); got != want {
				t.Errorf("%s belongs to %d, the folder to %d", made, got, want)
			}
		}
	}
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}
