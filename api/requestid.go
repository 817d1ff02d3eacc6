package api

import (
	"crypto/rand"
	"encoding/hex"
)

const maxRequestID = 64

// ValidRequestID says whether an incoming request id may be kept:
// [A-Za-z0-9._-]{1,64}. Anything else could forge log lines or headers.
func ValidRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// AppendRequestID appends a new request id of 16 lower-case hex digits.
func AppendRequestID(dst []byte) []byte {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.AppendEncode(dst, b[:])
}
