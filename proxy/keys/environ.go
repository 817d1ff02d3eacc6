package keys

import (
	"crypto/subtle"
	"fmt"
	"strings"
)

// Variable is the environment variable with keys for the simple case, where a file
// would be too much: a comma between them, each a key or a name, a colon and a key.
// They belong to the tenant "default", have no limits, and may have any form.
const Variable = "SEMANTIC_API_KEYS"

// leastKey is how short a key of one's own making can be.
const leastKey = 16

// parseEnviron reads the variable. Its errors never show what is in it.
func parseEnviron(text string) ([]Entry, error) {
	var entries []Entry
	for i, item := range strings.Split(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		e := Entry{Name: fmt.Sprintf("env-%d", i+1), Tenant: "default", place: fmt.Sprintf("%s, key %d", Variable, i+1)}
		key := item
		if name, rest, named := strings.Cut(item, ":"); named {
			if checkName(name) != nil {
				return nil, fmt.Errorf("%s: what is before the colon is no name: letters, digits and . _ @ + -, at most %d", e.place, longestName)
			}
			e.Name, key = name, strings.TrimSpace(rest)
		}
		if err := checkOwnKey(key); err != nil {
			return nil, fmt.Errorf("%s: %w", e.place, err)
		}
		e.Digest = digestOf([]byte(key))
		entries = append(entries, e)
	}
	return entries, nil
}

// ReadOwn takes a single key of any form, such as an administrator's. Its errors never
// show it.
func ReadOwn(key string) (Digest, error) {
	if err := checkOwnKey(key); err != nil {
		return Digest{}, err
	}
	return digestOf([]byte(key)), nil
}

// Is reports, in constant time, whether presented is the key of this digest.
func (d *Digest) Is(presented []byte) bool {
	if len(presented) > longestKey {
		return false
	}
	digest := digestOf(presented)
	return subtle.ConstantTimeCompare(d[:], digest[:]) == 1
}

// checkOwnKey refuses what cannot be sent in a header, can be guessed, or has a
// typing error.
func checkOwnKey(key string) error {
	switch {
	case len(key) < leastKey:
		return fmt.Errorf("it is shorter than %d characters and could be guessed; `semantic keys create` makes a good one", leastKey)
	case len(key) > longestKey:
		return fmt.Errorf("it is longer than %d characters", longestKey)
	case strings.HasPrefix(key, prefix) && !wellFormed([]byte(key)):
		return fmt.Errorf("it is mistyped or cut off: its checksum does not match")
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("it holds a character that no header can carry")
		}
	}
	return nil
}
