package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/semantic-pod/semantic/api"
)

// addresses says who may come in by where they come from, and which proxies in front
// of us are believed when they say for whom they speak.
type addresses struct{ allowed, denied, trusted []netip.Prefix }

func (c *Config) addresses() (a addresses, err error) {
	for _, list := range []struct {
		flag, text string
		to         *[]netip.Prefix
	}{{"allow-clients", c.AllowClients, &a.allowed}, {"deny-clients", c.DenyClients, &a.denied}, {"trusted-proxies", c.TrustedProxies, &a.trusted}} {
		if *list.to, err = parsePrefixes(list.text); err != nil {
			return a, fmt.Errorf("--%s: %w", list.flag, err)
		}
	}
	return a, nil
}

func parsePrefixes(text string) (all []netip.Prefix, err error) {
	for _, item := range strings.Split(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(item)
		if addr, err2 := netip.ParseAddr(item); err2 == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Zone() != "" {
			return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", item)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range list {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// origin is for whom a connection's other end speaks: itself, or, of a trusted proxy,
// the last address of X-Forwarded-For that is no trusted proxy's. What a client wrote
// there itself stands further left and is not believed.
func (a *addresses) origin(peer netip.Addr, headers []byte) netip.Addr {
	at := peer
	list := forwardedFor(headers)
	for len(list) > 0 && contains(a.trusted, at) {
		i := bytes.LastIndexByte(list, ',')
		addr, err := netip.ParseAddr(text(bytes.TrimSpace(list[i+1:])))
		if err != nil {
			break // who cannot be told apart from its proxy
		}
		at = addr.Unmap().WithZone("")
		list = list[:max(i, 0)]
	}
	return at
}

// forwardedFor joins the lines of X-Forwarded-For (RFC 9110, 5.3).
func forwardedFor(headers []byte) (list []byte) {
	for line := range bytes.Lines(headers) {
		name, value, found := bytes.Cut(line, []byte(":"))
		if found && is(name, "x-forwarded-for") {
			if list != nil {
				list = append(list, ',')
			}
			list = append(list, bytes.TrimSpace(value)...)
		}
	}
	return list
}

// locate finds out from where the request comes.
func (p *Proxy) locate(x *exchange, next handler) {
	x.addr, x.client = x.conn.addr, x.conn.client
	if len(p.addresses.trusted) > 0 && contains(p.addresses.trusted, x.addr) {
		if addr := p.addresses.origin(x.addr, x.headers()); addr != x.addr {
			x.addr, x.client = addr, addr.String()
		}
	}
	next(x)
}

// headers are the request's, as they came.
func (x *exchange) headers() []byte {
	if x.conn.lane != nil {
		return x.raw // which begins with a line that is no header
	}
	return x.ctx.Request.Header.RawHeaders()
}

// screen refuses who comes from a wrong place.
func (p *Proxy) screen(x *exchange, next handler) {
	a := &p.addresses
	if contains(a.denied, x.addr) || len(a.allowed) > 0 && !contains(a.allowed, x.addr) {
		p.meters.refusedAddresses.Inc()
		x.fail(&api.Error{Status: http.StatusForbidden, Code: "address_denied", Message: "requests from the address " + x.client + " are not taken here"})
		return
	}
	next(x)
}
