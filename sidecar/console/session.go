package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"os"
	"strings"
	"sync"
	"time"
)

// Bounds of who is let in.
const (
	maxSessions  = 256
	sessionTime  = 12 * time.Hour
	maxFailures  = 10 // wrong keys a minute, of all together
	ticketLength = 43 // of 32 bytes in base64
)

// sessions are the pages that were let in. They live in memory: a restarted sidecar asks again.
type sessions struct {
	mu     sync.Mutex
	until  map[[32]byte]time.Time // by the hash of what the cookie holds
	failed []time.Time

	ticket string
	used   string // file with the hash of the ticket that was used
}

func newSessions(ticket, used string) *sessions {
	return &sessions{until: map[[32]byte]time.Time{}, ticket: ticket, used: used}
}

// begin returns the secret of a new session.
func (s *sessions) begin(now time.Time) string {
	secret := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.until) >= maxSessions {
		s.dropOldest(now)
	}
	s.until[sha256.Sum256([]byte(secret))] = now.Add(sessionTime)
	return secret
}

func (s *sessions) dropOldest(now time.Time) {
	var oldest [32]byte
	first := now.Add(2 * sessionTime)
	for k, until := range s.until {
		if until.Before(first) {
			oldest, first = k, until
		}
	}
	delete(s.until, oldest)
}

// known says whether the secret is one of a session that lasts.
func (s *sessions) known(secret string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return secret != "" && now.Before(s.until[sha256.Sum256([]byte(secret))])
}

func (s *sessions) end(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.until, sha256.Sum256([]byte(secret)))
}

// redeem takes the ticket, once: not again after the sidecar came back either.
func (s *sessions) redeem(ticket string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ticket == "" || subtle.ConstantTimeCompare([]byte(ticket), []byte(s.ticket)) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(s.ticket))
	mark := hex.EncodeToString(sum[:])
	if before, err := os.ReadFile(s.used); err == nil && strings.TrimSpace(string(before)) == mark {
		return false
	}
	if os.WriteFile(s.used, []byte(mark+"\n"), 0o600) != nil {
		return false // what cannot be noted could be used again
	}
	s.ticket = ""
	return true
}

// mayTry says whether another key may be tried; failure counts one that was wrong.
func (s *sessions) mayTry(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.failed) > 0 && now.Sub(s.failed[0]) > time.Minute {
		s.failed = s.failed[1:]
	}
	return len(s.failed) < maxFailures
}

func (s *sessions) failure(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, now)
}
