package keys

import (
	"fmt"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/proxy/limit"
)

// Entry is one key as the file has it. A time that is zero is not set.
type Entry struct {
	Name, Tenant              string
	Digest                    Digest
	Created, Expires, Revoked time.Time
	Limits                    limit.Limits
	Admin                     bool
	Previous                  []Previous

	place string // file and line
}

// Previous is a key that the entry's replaced, and that is good until Revoked.
type Previous struct {
	Digest  Digest
	Revoked time.Time

	place string
}

// Check says what is wrong with an entry that is to be made, by the field's name.
func (e *Entry) Check() error {
	if err := checkName(e.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if err := checkName(e.Tenant); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	return e.Limits.Validate()
}

// State is "active", "expired" or "revoked".
func (e *Entry) State(now time.Time) string {
	switch {
	case !e.Revoked.IsZero() && !now.Before(e.Revoked):
		return string(Revoked)
	case !e.Expires.IsZero() && !now.Before(e.Expires):
		return string(Expired)
	}
	return "active"
}

// Overlap is until when a replaced key is still good; zero if none is.
func (e *Entry) Overlap(now time.Time) (until time.Time) {
	for _, p := range e.Previous {
		if p.Revoked.After(now) && p.Revoked.After(until) {
			until = p.Revoked
		}
	}
	return until
}

// checkUnique refuses names and digests that are there twice.
func checkUnique(entries []Entry) error {
	names, digests := make(map[string]string, len(entries)), make(map[Digest]string, len(entries))
	for _, e := range entries {
		if first, taken := names[e.Name]; taken {
			return fmt.Errorf("%s: the name %s is taken: see %s", e.place, e.Name, first)
		}
		names[e.Name] = e.place
		if first, taken := digests[e.Digest]; taken {
			return fmt.Errorf("%s: the key of %s is there already: see %s", e.place, e.Name, first)
		}
		digests[e.Digest] = e.place
		for _, p := range e.Previous {
			if first, taken := digests[p.Digest]; taken {
				return fmt.Errorf("%s: a previous key of %s is there already: see %s", p.place, e.Name, first)
			}
			digests[p.Digest] = p.place
		}
	}
	return nil
}

const longestName = 64

// checkName holds a name against what headers, labels and log lines can carry.
func checkName(name string) error {
	if name == "" || len(name) > longestName {
		return fmt.Errorf("expected 1 to %d characters, got %d", longestName, len(name))
	}
	for i, c := range []byte(name) {
		if !isDigit[c] && (i == 0 || !strings.ContainsRune("._@+-", rune(c))) {
			return fmt.Errorf("%s: only letters, digits and, after the first, any of . _ @ + - can be in it", quoted(name))
		}
	}
	if strings.HasPrefix(name, prefix) {
		return fmt.Errorf("%s: it must not look like a key", quoted(name))
	}
	return nil
}

// CheckName says what is wrong with a name of a tenant.
func CheckName(name string) error { return checkName(name) }

// Presentable is a name as logs and headers can carry it: itself, or the start of its
// SHA-256 if it is of another form.
func Presentable(name string) string {
	if checkName(name) == nil {
		return name
	}
	d := digestOf([]byte(name))
	return d.Fingerprint()
}

// quoted renders what a person wrote for an error message, unless it may be a key
// in the wrong place.
func quoted(s string) string {
	if len(s) > 40 || strings.Contains(s, prefix) {
		return fmt.Sprintf("a text of %d characters (not shown, it may be a key)", len(s))
	}
	return fmt.Sprintf("%q", s)
}
