package store

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// On disk:
//
//	<folder>/.lock
//	<folder>/<space>/<tenant>/<agent>.kv     an agent
//	<folder>/<space>/<tenant>/<agent>.tmp    one that is being written
//	<folder>/quarantine/<time>-<reason>-<agent>
//
// A space is one model, KV type, geometry, key and version of the format: all that must be equal
// for a file to be of use. The files of other spaces are left alone, but count in the quota,
// expire, and are evicted like any other. Tenant and agent are hashes, so that no name can leave
// its folder or meet another's, and with a key they are keyed, so that they tell nobody who the
// tenants are. The true names stand in the file's head.
const (
	agentSuffix     = ".kv"
	temporarySuffix = ".tmp"
	shelfName       = "quarantine"

	keySize = 32
	maxName = 1024 // bytes of a tenant's or an agent's name
)

var (
	spaceNames = regexp.MustCompile(`^v[0-9]+-[0-9a-f]{12}-[a-z0-9_]{1,8}-[0-9a-f]{16}$`)
	hashNames  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// keyring is what is derived from the key of --cache-key-file, or what stands in for it.
type keyring struct {
	encrypted bool
	names     []byte  // keys the hashes of the names
	files     []byte  // the keys of the files are derived from it
	id        [8]byte // tells one key from another and gives nothing away
}

func newKeyring(key []byte) (keyring, error) {
	if key == nil {
		return keyring{names: []byte("semantic agents, no key")}, nil
	}
	r := keyring{encrypted: true}
	var err error
	derive := func(purpose string, size int) []byte {
		b, e := hkdf.Key(sha256.New, key, nil, "semantic agents: "+purpose, size)
		if e != nil {
			err = e
		}
		return b
	}
	r.names, r.files = derive("names", 32), derive("files", 32)
	copy(r.id[:], derive("key id", len(r.id)))
	return r, err
}

// fileKey returns the key of the one file that has this salt. No other file has it, which lets
// the nonces in a file be counted.
func (r *keyring) fileKey(salt [32]byte) ([]byte, error) {
	return hkdf.Key(sha256.New, r.files, salt[:], "semantic agents: one file", keySize)
}

func (r *keyring) hash(kind string, names ...string) string {
	h := hmac.New(sha256.New, r.names)
	h.Write([]byte(kind))
	for _, name := range names {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(name))))
		h.Write([]byte(name))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *keyring) tenantName(tenant string) string { return r.hash("tenant", tenant) }

func (r *keyring) agentName(tenant, id string) string { return r.hash("agent", tenant, id) }

func (r *keyring) spaceName(o *Options) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %x %s %+v %x", formatVersion, o.Fingerprint, o.KVType, o.Geometry, r.id)
	return fmt.Sprintf("v%d-%x-%s-%x", formatVersion, o.Fingerprint[:6], o.KVType, h.Sum(nil)[:8])
}

// path returns where an agent of this model lies.
func (s *Store) path(tenant, id string) string {
	return filepath.Join(s.space, s.ring.tenantName(tenant), s.ring.agentName(tenant, id)+agentSuffix)
}

// belongs says whether the names in a file's head are those that its path was made of.
func (s *Store) belongs(h *head, path string) bool { return s.path(h.tenant, h.id) == path }

func (s *Store) shelfFolder() string { return filepath.Join(s.dir, shelfName) }

// temporary returns the name under which a file is written before it is renamed.
func temporary(path string) string { return strings.TrimSuffix(path, agentSuffix) + temporarySuffix }

// ReadKeyFile reads a key of 32 bytes, written as they are or as 64 hexadecimal digits.
func ReadKeyFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read --cache-key-file: %w", err)
	}
	if len(b) == keySize {
		return b, nil
	}
	if key, err := hex.DecodeString(strings.TrimSpace(string(b))); err == nil && len(key) == keySize {
		return key, nil
	}
	return nil, fmt.Errorf("cannot use --cache-key-file=%s: it holds %d bytes and must hold 32, or 64 hexadecimal digits", path, len(b))
}
