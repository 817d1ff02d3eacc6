package keys

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

func TestGeneratedKeysAreWellFormedAndDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key := generate()
		if len(key) != 56 || !strings.HasPrefix(key, "sk-sem-") || !wellFormed([]byte(key)) || seen[key] {
			t.Fatalf("bad key %s", key)
		}
		seen[key] = true
	}
}

func TestAllBitsOfTheSecretAreInTheKey(t *testing.T) {
	if got := string(appendBase62(nil, make([]byte, 32), secretDigits)); got != strings.Repeat("0", 43) {
		t.Errorf("zero is %s", got)
	}
	// 2^256 - 1 in base 62, from another calculator.
	const largest = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"
	if got := string(appendBase62(nil, bytes.Repeat([]byte{0xff}, 32), secretDigits)); got != largest {
		t.Errorf("the largest secret is %s", got)
	}
	seen := map[string]bool{}
	for bit := range 256 {
		b := make([]byte, 32)
		b[bit/8] = 1 << (bit % 8)
		seen[string(appendBase62(nil, b, secretDigits))] = true
	}
	if len(seen) != 256 {
		t.Errorf("%d of 256 bits make a difference", len(seen))
	}
}

func TestATypoIsToldFromAnUnknownKey(t *testing.T) {
	s := open(t, Config{Environ: generate()})
	key := generate()
	expect(t, "a key of another server", who(s, key, now), "nobody: unknown")
	for i := range len(key) {
		for _, c := range []byte("0aZ-\x00\xff") {
			if key[i] == c {
				continue
			}
			typo := key[:i] + string(rune(c)) + key[i+1:]
			expect(t, "typo "+typo, who(s, typo, now), "nobody: malformed")
		}
		if i > 0 && key[i] != key[i-1] {
			swapped := key[:i-1] + key[i:i+1] + key[i-1:i] + key[i+1:]
			expect(t, "swapped "+swapped, who(s, swapped, now), "nobody: malformed")
		}
		expect(t, "cut off", who(s, key[:i], now), "nobody: malformed")
	}
	expect(t, "too long", who(s, strings.Repeat("x", 10_000), now), "nobody: malformed")
}

func TestEachReasonForRefusal(t *testing.T) {
	good, old, late, gone := generate(), generate(), generate(), generate()
	s := open(t, Config{File: keyFile(t, "keys:\n"+
		entry("ci", good, "  previous:", fmt.Sprintf("  - sha256: %x", digestOf([]byte(old))), "    revoked: 2026-05-06T08:00:00Z")+
		entry("late", late, "  expires: 2026-05-07")+
		entry("gone", gone, "  revoked: 2026-05-07T00:00:00Z", "  expires: 2026-05-08"))})
	for _, test := range []struct {
		name, key string
		at        time.Time
		want      string
	}{
		{"good", good, now, "acme/ci"},
		{"replaced, in the overlap", old, now, "acme/ci"},
		{"replaced, after it", old, now.Add(time.Hour), "nobody: revoked"},
		{"before its expiry", late, now, "acme/late"},
		{"at its expiry", late, time.Date(2026, 5, 7, 0, 0, 0, 0, time.UTC), "nobody: expired"},
		{"before it is revoked", gone, now, "acme/gone"},
		{"revoked", gone, now.Add(24 * time.Hour), "nobody: revoked"},
		{"revoked and expired", gone, now.Add(72 * time.Hour), "nobody: revoked"},
		{"nothing", "", now, "nobody: malformed"},
	} {
		expect(t, test.name, who(s, test.key, test.at), test.want)
		first, second := whoAgain(s, test.key, test.at)
		expect(t, test.name+", by a connection", first, test.want)
		expect(t, test.name+", by a connection again", second, test.want)
	}
	for _, r := range Reasons {
		if r.Message() == "" || strings.Contains(r.Message(), "sk-sem") {
			t.Errorf("%s: %q", string(r), r.Message())
		}
	}
}

func TestDigestsWithTheSameStartAreToldApart(t *testing.T) {
	key := generate()
	twin := digestOf([]byte(key))
	twin[31] ^= 1
	entries := []Entry{{Name: "a", Digest: digestOf([]byte(key))}, {Name: "b", Digest: twin}}
	alone := newSet(entries[1:], []Identity{{Key: "b"}})
	if id, why := alone.lookup([]byte(key), now); id != nil || why != Unknown {
		t.Errorf("the twin's identity was given: %v, %v", id, why)
	}
	for range 2 {
		s := newSet(entries, []Identity{{Key: entries[0].Name}, {Key: entries[1].Name}})
		if id, why := s.lookup([]byte(key), now); id == nil || id.Key != "a" {
			t.Errorf("got %v, %v", id, why)
		}
		entries[0], entries[1] = entries[1], entries[0]
	}
	if got := binary.LittleEndian.Uint64(twin[:8]); got != entries[0].Digest.index() {
		t.Error("the twins have different indices")
	}
}

func TestKeysFromTheEnvironment(t *testing.T) {
	s := open(t, Config{Environ: " my-own-secret-key-1 , bob:my-own-secret-key-2,,"})
	expect(t, "bare", who(s, "my-own-secret-key-1", now), "default/env-1")
	expect(t, "named", who(s, "my-own-secret-key-2", now), "default/bob")
	expect(t, "other", who(s, "my-own-secret-key-3", now), "nobody: malformed")
	if s.Loaded() != 2 || !s.Required() {
		t.Errorf("%d loaded, required %v", s.Loaded(), s.Required())
	}
	typo := []byte(generate())
	typo[20] = map[bool]byte{true: '1', false: '0'}[typo[20] == '0']
	for environ, want := range map[string]string{
		"short":                                 "SEMANTIC_API_KEYS, key 1: it is shorter than 16",
		"my-own-secret-key-1,a b:" + "x":        "key 2: what is before the colon is no name",
		"my-own-secret key-1":                   "no header can carry",
		string(typo):                            "key 1: it is mistyped",
		"a:my-own-secret-1x,a:my-own-secret-2x": "key 2: the name a is taken: see SEMANTIC_API_KEYS, key 1",
		"my-own-secret-1x,my-own-secret-1x":     "the key of env-2 is there already",
		strings.Repeat("x", 600):                "longer than 512",
	} {
		_, _, err := Open(Config{Environ: environ, Table: limit.NewTable(now, limit.Options{})})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
			continue
		}
		for _, word := range strings.FieldsFunc(environ, func(r rune) bool { return r == ',' || r == ':' }) {
			if len(word) > 8 && strings.Contains(err.Error(), word) {
				t.Errorf("the error shows a key: %v", err)
			}
		}
	}
}

// tenThousand opens a store with that many keys and returns them.
func tenThousand(t testing.TB) (*Store, []string) {
	entries, identities, keys := make([]Entry, 10_000), make([]Identity, 10_000), make([]string, 10_000)
	for i := range entries {
		keys[i] = generate()
		entries[i] = Entry{Name: fmt.Sprint("key-", i), Tenant: "acme", Digest: digestOf([]byte(keys[i]))}
		identities[i].Key = entries[i].Name
	}
	s := &Store{}
	s.set.Store(newSet(entries, identities))
	return s, keys
}

func TestLookupAllocatesNothing(t *testing.T) {
	s, keys := tenThousand(t)
	presented := make([][]byte, len(keys))
	for i, k := range keys {
		presented[i] = []byte(k)
	}
	unknown, typo := []byte(generate()), []byte("sk-sem-x")
	i := 0
	if allocs := testing.AllocsPerRun(20_000, func() {
		i++
		if id, why := s.Lookup(presented[i%len(presented)], now); id == nil || id.Key == "" {
			t.Fatal(why)
		}
		if _, why := s.Lookup(unknown, now); why != Unknown {
			t.Fatal(why)
		}
		if _, why := s.Lookup(typo, now); why != Malformed {
			t.Fatal(why)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// BenchmarkLookup looks up ten thousand keys, each another one. The best round is what
// it costs when nothing else uses the machine's caches.
func BenchmarkLookup(b *testing.B) {
	s, keys := tenThousand(b)
	presented := make([][]byte, len(keys))
	for at, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(keys)) {
		presented[at] = []byte(keys[i])
	}
	best := time.Duration(math.MaxInt64)
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		for _, key := range presented {
			if _, why := s.Lookup(key, now); why != Known {
				b.Fatal(why)
			}
		}
		best = min(best, time.Since(began))
	}
	b.ReportMetric(float64(best.Nanoseconds())/float64(len(presented)), "best-ns/lookup")
}

func TestAConnectionsMemoryKeepsNoKeyInForce(t *testing.T) {
	key, late, stranger := generate(), generate(), generate()
	text := "keys:\n" + entry("ci", key) + entry("late", late, "  expires: 2026-05-07")
	path := keyFile(t, text)
	s := open(t, Config{File: path})
	var m Memory
	ask := func(key string, at time.Time) string {
		id, why := s.LookupAgain(&m, []byte(key), at)
		if id == nil {
			return "nobody: " + string(why)
		}
		return id.Key
	}
	expect(t, "first", ask(key, now), "ci")
	expect(t, "again", ask(key, now), "ci")
	expect(t, "another's key", ask(late, now), "late")
	expect(t, "the same after its end", ask(late, now.Add(24*time.Hour)), "nobody: expired")
	expect(t, "a stranger's", ask(stranger, now), "nobody: unknown")
	expect(t, "a part of it", ask(late[:len(late)-1], now), "nobody: malformed")
	expect(t, "none", ask("", now), "nobody: malformed")
	expect(t, "back", ask(key, now), "ci")
	write(t, path, "keys:\n"+entry("other", late)+entry("ci", key, "  revoked: 2026-05-06T00:00:00Z"))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	expect(t, "after it was revoked", ask(key, now), "nobody: revoked")
	expect(t, "after it moved in the file", ask(late, now), "other")
	presented := []byte(late)
	if n := testing.AllocsPerRun(100, func() { s.LookupAgain(&m, presented, now) }); n != 0 {
		t.Errorf("%v allocations a look", n)
	}
}

func BenchmarkLookupAgain(b *testing.B) {
	key := []byte(generate())
	s, _, err := Open(Config{Environ: string(key), Table: limit.NewTable(now, limit.Options{})})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			s.Lookup(key, now)
		}
	})
	b.Run("remembered", func(b *testing.B) {
		var m Memory
		for b.Loop() {
			s.LookupAgain(&m, key, now)
		}
	})
}
