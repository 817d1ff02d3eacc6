package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/semantic-pod/semantic/api"
	"github.com/valyala/fasthttp"
)

// anyOrigin lets the scripts of every web site call.
const anyOrigin = "*"

// origins are the web sites whose scripts may call (CORS). Keys come in headers that a
// script has to know, never in cookies, so credentials are not let through.
type origins map[string]bool

func parseOrigins(text string) (origins, error) {
	all := origins{}
	for _, item := range strings.Split(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		u, err := url.Parse(item)
		if item != anyOrigin && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != item) {
			return nil, fmt.Errorf("--cors-origins: %q is no origin such as https://app.example.org", item)
		}
		all[item] = true
	}
	if all[anyOrigin] && len(all) > 1 {
		return nil, errors.New("--cors-origins: * means every origin: leave the others out")
	}
	return all, nil
}

// allowed is the origin that the answer names, or "".
func (o origins) allowed(origin []byte) string {
	switch {
	case len(origin) == 0:
		return ""
	case o[anyOrigin]:
		return anyOrigin
	case o[string(origin)]:
		return string(origin)
	}
	return ""
}

// shareAcrossOrigins answers a browser's question whether a script may call, and tells
// the browser that a script may read the answer. Without --cors-origins, and for
// /admin, no script of another site may.
func (p *Proxy) shareAcrossOrigins(x *exchange, next handler) {
	if len(p.origins) == 0 || x.route == nil || x.route.admin {
		next(x)
		return
	}
	origin := p.origins.allowed(x.head.origin)
	h := &x.ctx.Response.Header
	if origin != "" && len(x.head.corsMethod) > 0 && string(x.ctx.Method()) == http.MethodOptions {
		x.finish = api.FinishOK
		x.ctx.Response.SetStatusCode(http.StatusNoContent)
		h.Set(fasthttp.HeaderAccessControlAllowMethods, strings.Join(x.route.methods, ", "))
		if len(x.head.corsHeaders) > 0 {
			h.SetBytesV(fasthttp.HeaderAccessControlAllowHeaders, x.head.corsHeaders)
		}
		h.Set(fasthttp.HeaderAccessControlMaxAge, "7200")
	} else {
		next(x)
	}
	if !x.later {
		p.tellOrigin(x)
	}
}

// tellOrigin says who may read the answer.
func (p *Proxy) tellOrigin(x *exchange) {
	if len(p.origins) == 0 || x.route == nil || x.route.admin {
		return
	}
	h := &x.ctx.Response.Header
	if origin := p.origins.allowed(x.head.origin); origin != "" {
		h.Set(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, exposedHeaders)
	}
	h.Add(fasthttp.HeaderVary, "Origin")
}

// exposedHeaders are those of ours that a script may read.
const exposedHeaders = "X-Request-ID, X-Response-Time, Server-Timing, Retry-After, Semantic-Agent-Conflict, " +
	"X-RateLimit-Limit-Requests, X-RateLimit-Remaining-Requests, X-RateLimit-Reset-Requests, " +
	"X-RateLimit-Limit-Tokens, X-RateLimit-Remaining-Tokens, X-RateLimit-Reset-Tokens"
