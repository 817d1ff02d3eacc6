package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Errors of the commands that change a file.
var (
	ErrTaken   = errors.New("there is a key of that name already")
	ErrNoKey   = errors.New("there is no key of that name")
	ErrRevoked = errors.New("the key is revoked")
	ErrExpired = errors.New("the key has expired")
)

// Read reads the entries of a key file, for a list.
func Read(path string) ([]Entry, error) {
	f, err := readFile(path)
	if err != nil {
		return nil, err
	}
	d, err := parse(path, f.data)
	if err != nil {
		return nil, err
	}
	return d.entries, nil
}

// Create adds a key to the file, which is made if it is not there. Of e it takes
// name, tenant, expiry, limits and admin. The key it returns is nowhere else.
func Create(path string, e Entry, now time.Time) (key string, err error) {
	if err := e.Check(); err != nil {
		return "", err
	}
	key = generate()
	e.Digest, e.Created, e.Expires = digestOf([]byte(key)), stamp(now), stamp(e.Expires)
	return key, change(path, true, func(d *editor) error {
		if _, found := d.find(e.Name); found {
			return fmt.Errorf("cannot create %s: %w: choose another, or rotate it", e.Name, ErrTaken)
		}
		d.append(e)
		return nil
	})
}

// Revoke ends a key, with all that it has replaced. ErrRevoked says that it has ended
// before.
func Revoke(path, name string, now time.Time) error {
	return change(path, false, func(d *editor) error {
		i, found := d.find(name)
		if !found {
			return fmt.Errorf("cannot revoke %s: %w", name, ErrNoKey)
		}
		e := &d.entries[i]
		if e.State(now) == string(Revoked) {
			return fmt.Errorf("%s: %w already, since %s", name, ErrRevoked, e.Revoked.Format(time.RFC3339))
		}
		e.Revoked = stamp(now)
		d.set(i, "revoked", e.Revoked.Format(time.RFC3339))
		return nil
	})
}

// Rotate gives a key's name, tenant and limits to a new key. The old one is good for
// the overlap still. A new expiry can be given; the zero one leaves it as it is.
func Rotate(path, name string, overlap time.Duration, expires, now time.Time) (key string, err error) {
	key = generate()
	return key, change(path, false, func(d *editor) error {
		i, found := d.find(name)
		if !found {
			return fmt.Errorf("cannot rotate %s: %w", name, ErrNoKey)
		}
		e := &d.entries[i]
		if !expires.IsZero() {
			e.Expires = stamp(expires)
			d.set(i, "expires", e.Expires.Format(time.RFC3339))
		}
		switch e.State(now) {
		case string(Revoked):
			return fmt.Errorf("cannot rotate %s: %w: create another", name, ErrRevoked)
		case string(Expired):
			return fmt.Errorf("cannot rotate %s: %w: give a new expiry with --expires", name, ErrExpired)
		}
		old := Previous{Digest: e.Digest, Revoked: stamp(now.Add(overlap))}
		e.Digest = digestOf([]byte(key))
		d.set(i, "sha256", fmt.Sprintf("%x", e.Digest))
		d.addPrevious(i, old)
		e.Previous = slices.Insert(e.Previous, 0, old)
		return nil
	})
}

// stamp is a time as the file holds it.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

// change edits the file under a lock, so that no other command's change is lost,
// and only if what comes out means what was intended.
func change(path string, create bool, edit func(*editor) error) error {
	target, unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := readFile(target)
	if create && errors.Is(err, fs.ErrNotExist) {
		f, err = file{data: []byte(heading)}, nil
	}
	if err != nil {
		return err
	}
	doc, err := parse(path, f.data)
	if err != nil {
		return err
	}
	d := newEditor(doc)
	if err := edit(d); err != nil {
		return err
	}
	after := d.bytes()
	if bytes.Equal(after, f.data) {
		return nil
	}
	if err := d.check(after); err != nil {
		return fmt.Errorf("cannot change %s without harm to what is in it: %w; write it like the example in its head or in `semantic keys --help`, one field a line", path, err)
	}
	return replaceFile(target, after)
}

const heading = `# The API keys of semantic, as digests: no key is in here.
# It may be edited; what is wrong is refused as a whole, and the proxy goes on with
# what it read before. "semantic keys" makes, lists, revokes and rotates keys:
#
#   - name: ci
#     tenant: acme
#     sha256: 64 hexadecimal digits of the key's SHA-256
#     created: 2026-01-02T03:04:05Z
#     expires: 2026-12-31        # left out: never
#     requests_per_second: 5     # left out, here and below: no limit
#     burst: 10
#     tokens_per_minute: 60000
#     max_concurrent: 4
#     admin: true                # may use /admin
#     revoked: 2026-06-30        # from then on
keys:
`
