package keys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
)

// A key is a prefix, by which scanners for leaked secrets know it, 32 random bytes,
// and a checksum, so that a mistyped key is told from an unknown one.
const (
	prefix       = "sk-sem-"
	secretDigits = 43 // base 62: 32 bytes need 256 bits, 43 digits hold 256.03
	sumDigits    = 6  // a CRC-32
	keyLength    = len(prefix) + secretDigits + sumDigits
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isDigit holds the base 62 digits.
var isDigit = func() (set [256]bool) {
	for _, c := range []byte(base62) {
		set[c] = true
	}
	return set
}()

// Digest is the SHA-256 of a key: what the file holds.
type Digest [sha256.Size]byte

func digestOf(key []byte) Digest { return sha256.Sum256(key) }

// Fingerprint is the digest's start, enough for people to tell keys apart.
func (d Digest) Fingerprint() string { return hex.EncodeToString(d[:6]) }

// generate makes a new key.
func generate() string {
	var secret [32]byte
	rand.Read(secret[:]) // never fails: it would end the process
	key := append(make([]byte, 0, keyLength), prefix...)
	key = appendBase62(key, secret[:], secretDigits)
	return string(appendSum(key, key))
}

// appendSum appends the checksum of key to dst.
func appendSum(dst, key []byte) []byte {
	sum := crc32.ChecksumIEEE(key)
	number := [4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
	return appendBase62(dst, number[:], sumDigits)
}

// appendBase62 appends the number, given by its bytes, which it uses up.
func appendBase62(dst, number []byte, digits int) []byte {
	at := len(dst)
	for range digits {
		dst = append(dst, 0)
	}
	for i := at + digits - 1; i >= at; i-- {
		rest := 0
		for j, b := range number {
			rest = rest<<8 | int(b)
			number[j] = byte(rest / 62)
			rest %= 62
		}
		dst[i] = base62[rest]
	}
	return dst
}

// wellFormed says whether key can be one that generate made.
func wellFormed(key []byte) bool {
	if len(key) != keyLength || string(key[:len(prefix)]) != prefix {
		return false
	}
	for _, c := range key[len(prefix):] {
		if !isDigit[c] {
			return false
		}
	}
	var sum [sumDigits]byte
	return string(appendSum(sum[:0], key[:keyLength-sumDigits])) == string(key[keyLength-sumDigits:])
}
