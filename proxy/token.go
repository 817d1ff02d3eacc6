package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
	"go.uber.org/zap"
)

const (
	largestKeySet  = 1 << 20
	fetchTimeout   = 2 * time.Second
	fetchEvery     = 5 * time.Minute  // of a key set at a URL
	fetchAtMost    = 10 * time.Second // one that lacks a token's key is not fetched more often
	tokenLeeway    = 30 * time.Second // between the clocks of issuer and proxy
	tokenMemory    = time.Minute      // a token that was good is not verified again for so long
	rememberedMost = 8192             // tokens
)

// signatures are the ways of signing that are taken: those with a public key alone.
var signatures = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// issuer knows the keys of who issues tokens (JWT, RFC 7519).
type issuer struct {
	p      *Proxy
	url    bool
	parser *jwt.Parser
	set    atomic.Pointer[keySet]

	mu      sync.Mutex // of fetching
	fetched time.Time
}

// keySet is the keys as they were read, and the tokens that they have verified.
type keySet struct {
	find jwt.Keyfunc
	mu   sync.Mutex
	good map[[sha256.Size]byte]goodToken
}

type goodToken struct {
	who   *keys.Identity
	until time.Time
}

func (c *Config) validateJWT() error {
	switch {
	case c.JWTKeys == "" && (c.JWTIssuer != "" || c.JWTAudience != ""):
		return errors.New("--jwt-issuer and --jwt-audience need --jwt-keys")
	case c.JWTKeys == "":
		return nil
	case c.JWTIssuer == "" || c.JWTAudience == "":
		return errors.New("--jwt-keys needs --jwt-issuer and --jwt-audience, else tokens that were made for others would be taken")
	case c.JWTTenantClaim == "":
		return errors.New("--jwt-tenant-claim must name a claim")
	}
	u, err := url.Parse(c.JWTKeys)
	if err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("--jwt-keys=%s: keys that come without TLS could be anybody's: say https", c.JWTKeys)
	}
	return nil
}

func newIssuer(p *Proxy) *issuer {
	return &issuer{
		p: p, url: strings.HasPrefix(p.cfg.JWTKeys, "https://") || strings.HasPrefix(p.cfg.JWTKeys, "http://"),
		parser: jwt.NewParser(jwt.WithValidMethods(signatures), jwt.WithIssuer(p.cfg.JWTIssuer), jwt.WithAudience(p.cfg.JWTAudience),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(tokenLeeway)),
	}
}

// read takes the keys from their file or URL.
func (i *issuer) read() error {
	data, err := i.load()
	if err != nil {
		return fmt.Errorf("cannot read --jwt-keys=%s: %w", i.p.cfg.JWTKeys, err)
	}
	known, err := keyfunc.NewJWKSetJSON(data)
	if err != nil {
		return fmt.Errorf("cannot use --jwt-keys=%s: it is no JSON Web Key Set: %w", i.p.cfg.JWTKeys, err)
	}
	i.set.Store(&keySet{find: known.Keyfunc, good: map[[sha256.Size]byte]goodToken{}})
	return nil
}

func (i *issuer) load() ([]byte, error) {
	if !i.url {
		return os.ReadFile(i.p.cfg.JWTKeys)
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.p.cfg.JWTKeys, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, largestKeySet))
}

// watch reads the keys again when their file changes, or every few minutes.
func (i *issuer) watch(ctx context.Context) {
	if !i.url {
		i.p.watchFiles(ctx, tokenKeysSetting, i.read)
		return
	}
	for tick(ctx, fetchEvery) {
		i.p.reread(tokenKeysSetting, i.read)
	}
}

// refresh fetches the keys for a token whose key is not among them, unless that was
// done just now. It reports whether they may be others than before.
func (i *issuer) refresh(before *keySet) bool {
	if !i.url {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.set.Load() == before && time.Since(i.fetched) >= fetchAtMost {
		i.fetched = time.Now()
		i.p.reread(tokenKeysSetting, i.read)
	}
	return i.set.Load() != before
}

// looksLikeToken tells a token from an API key.
func looksLikeToken(key []byte) bool {
	return bytes.HasPrefix(key, []byte("eyJ")) && bytes.Count(key, []byte(".")) == 2
}

// identify finds out for whom a token was issued.
func (i *issuer) identify(token []byte, now time.Time) (*keys.Identity, keys.Reason) {
	set, digest := i.set.Load(), sha256.Sum256(token)
	if who := set.remembered(digest, now); who != nil {
		return who, keys.Known
	}
	claims := jwt.MapClaims{}
	_, err := i.parser.ParseWithClaims(string(token), claims, set.find)
	if errors.Is(err, jwt.ErrTokenUnverifiable) && i.refresh(set) {
		set, claims = i.set.Load(), jwt.MapClaims{}
		_, err = i.parser.ParseWithClaims(string(token), claims, set.find)
	}
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return nil, keys.Expired
	case err != nil:
		return nil, keys.Untrusted
	}
	who, why := i.admit(claims)
	if why == keys.Known {
		expires, _ := claims.GetExpirationTime() // which was asked for
		set.remember(digest, goodToken{who, minTime(expires.Add(tokenLeeway), now.Add(tokenMemory))}, now)
	}
	return who, why
}

// admit reads the claims of a good token.
func (i *issuer) admit(claims jwt.MapClaims) (*keys.Identity, keys.Reason) {
	tenant, _ := claims[i.p.cfg.JWTTenantClaim].(string)
	subject, _ := claims.GetSubject()
	limits := i.p.cfg.issuedLimits()
	if claim, given := claims[i.p.cfg.JWTLimitsClaim]; given {
		var err error
		if limits, err = claimedLimits(claim, limits); err != nil {
			i.p.log.Zap().Warn("a token with bad limits is refused", zap.Error(err))
			return nil, keys.Untrusted
		}
	}
	return i.p.issued("jwt:", subject, tenant, limits)
}

// claimedLimits are those of the claim, and else the ones that all have.
func claimedLimits(claim any, limits limit.Limits) (limit.Limits, error) {
	data, err := json.Marshal(claim)
	if err != nil {
		return limits, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields() // a limit that is misspelt would be none
	if err := dec.Decode(&limits); err != nil {
		return limits, err
	}
	return limits, limits.Validate()
}

func (s *keySet) remembered(digest [sha256.Size]byte, now time.Time) *keys.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, known := s.good[digest]; known && now.Before(g.until) {
		return g.who
	}
	return nil
}

func (s *keySet) remember(digest [sha256.Size]byte, g goodToken, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.good) >= rememberedMost {
		for d, old := range s.good {
			if !now.Before(old.until) {
				delete(s.good, d)
			}
		}
	}
	if len(s.good) < rememberedMost {
		s.good[digest] = g
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
