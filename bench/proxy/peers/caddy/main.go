// Command caddy is Caddy with its standard modules and a rate limit per key, which
// they lack.
package main

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"golang.org/x/time/rate"
)

func main() { caddycmd.Main() }

func init() {
	caddy.RegisterModule((*keyRate)(nil))
	httpcaddyfile.RegisterHandlerDirective("key_rate", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		k := new(keyRate)
		return k, k.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("key_rate", httpcaddyfile.Before, "reverse_proxy")
}

// keyRate answers 429 above so many requests a second of one Authorization.
type keyRate struct {
	Rate   float64 `json:"rate"`
	Burst  int     `json:"burst"`
	limits *sync.Map
}

// CaddyModule names the module.
func (*keyRate) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.key_rate", New: func() caddy.Module { return new(keyRate) }}
}

// Provision makes the module ready.
func (k *keyRate) Provision(caddy.Context) error {
	k.limits = new(sync.Map)
	return nil
}

// UnmarshalCaddyfile reads "key_rate RATE BURST".
func (k *keyRate) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.ArgErr()
	}
	var err error
	if k.Rate, err = strconv.ParseFloat(args[0], 64); err != nil {
		return d.WrapErr(err)
	}
	k.Burst, err = strconv.Atoi(args[1])
	return err
}

func (k *keyRate) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	key := r.Header.Get("Authorization")
	limit, ok := k.limits.Load(key)
	if !ok {
		limit, _ = k.limits.LoadOrStore(key, rate.NewLimiter(rate.Limit(k.Rate), k.Burst))
	}
	if !limit.(*rate.Limiter).Allow() {
		return caddyhttp.Error(http.StatusTooManyRequests, nil)
	}
	return next.ServeHTTP(w, r)
}
