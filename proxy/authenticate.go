package proxy

import (
	"bytes"
	"net/http"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/valyala/fasthttp"
)

// defaultTenant owns what is asked where no key is.
const defaultTenant = "default"

// authenticate finds out whose key the request came with. Without any key in the
// file or the environment none is asked for.
func (p *Proxy) authenticate(x *exchange, next handler) {
	switch {
	case x.route.admin:
		x.who, x.stranger = p.identifyAdmin(x.head.presented())
	case !p.door.keys.Required() && !p.cfg.issues():
		next(x)
		return
	default:
		x.who, x.stranger = p.identify(x)
	}
	if x.stranger != keys.Known {
		p.turnAway(x)
		return
	}
	next(x)
}

// identify takes an API key, a token, or without either the certificate that the
// client's connection began with.
func (p *Proxy) identify(x *exchange) (*keys.Identity, keys.Reason) {
	key := x.head.presented()
	switch {
	case len(key) == 0 && x.conn.certificate != nil:
		return p.identifyCertificate(x.conn.certificate, time.Now())
	case len(key) == 0:
		return nil, keys.Missing
	case p.door.issuer != nil && looksLikeToken(key):
		return p.door.issuer.identify(key, time.Now())
	}
	now := x.now()
	who, why := p.door.keys.LookupAgain(&x.conn.login, key, now)
	if why == keys.Known {
		x.passed[authenticated] = now // the rest took less than a look at the clock would
	}
	return who, why
}

// identifyAdmin asks for an admin key also where no other is asked for.
func (p *Proxy) identifyAdmin(key []byte) (*keys.Identity, keys.Reason) {
	if len(key) == 0 {
		return nil, keys.Missing
	}
	if d := p.door.admin.Load(); d != nil && d.Is(key) {
		return adminIdentity, keys.Known
	}
	who, why := p.door.keys.Lookup(key, time.Now())
	if why == keys.Known && !who.Admin {
		return who, keys.NoAdmin
	}
	return who, why
}

// adminIdentity is whoever has the key of --admin-key.
var adminIdentity = &keys.Identity{Key: "admin", Tenant: defaultTenant, Label: "admin", Admin: true}

// presented is the key that the request came with: a bearer's goes before another.
func (h *head) presented() []byte {
	const scheme = "bearer "
	if len(h.authorization) > len(scheme) && is(h.authorization[:len(scheme)], scheme) {
		return bytes.TrimLeft(h.authorization[len(scheme):], " ")
	}
	return h.apiKey
}

// turnAway refuses a request without a good key: at once the first few times, later
// with a pause, so that trying keys is slow.
func (p *Proxy) turnAway(x *exchange) {
	p.meters.authFailures[x.stranger].Inc()
	if x.stranger == keys.NoAdmin { // who has a good key guesses nothing
		x.fail(&api.Error{Status: http.StatusForbidden, Code: "admin_key_needed", Message: x.stranger.Message()})
		return
	}
	hold, retryAfter := p.door.failures.Failed(time.Now(), x.addr)
	if retryAfter > 0 {
		p.meters.refusedLogins.Inc()
		x.fail(&api.Error{Status: http.StatusTooManyRequests, Code: "too_many_failed_logins", RetryAfter: retryAfter,
			Message: "too many requests without a good API key came from this address: " + x.stranger.Message()})
		return
	}
	if hold > 0 {
		p.hold(x, hold, refuseStranger)
		return
	}
	refuseStranger(x)
}

// refuseStranger answers a request without a good key.
func refuseStranger(x *exchange) {
	code := "invalid_api_key"
	if x.stranger == keys.Missing {
		code = "missing_api_key"
	}
	message := x.stranger.Message()
	if x.route.admin {
		message += "; " + keys.NoAdmin.Message()
	}
	x.fail(&api.Error{Status: http.StatusUnauthorized, Code: code, Message: message})
	x.ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
}

// tenant is whose request it is.
func (x *exchange) tenant() string {
	if x.who == nil {
		return defaultTenant
	}
	return x.who.Tenant
}
