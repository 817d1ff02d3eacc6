package proxy

import (
	"crypto/x509"
	"time"

	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
)

// identifyCertificate takes the subject of a client's certificate, which
// --tls-client-ca-file has vouched for: the organization is the tenant, the common
// name stands where a key's does.
func (p *Proxy) identifyCertificate(c *x509.Certificate, now time.Time) (*keys.Identity, keys.Reason) {
	if now.After(c.NotAfter) {
		return nil, keys.Expired // the connection may be older
	}
	if len(c.Subject.Organization) != 1 {
		return nil, keys.NoTenant
	}
	return p.issued("mtls:", c.Subject.CommonName, c.Subject.Organization[0], p.cfg.issuedLimits())
}

// issued is the identity of a login that stands in no key file.
func (p *Proxy) issued(kind, name, tenant string, limits limit.Limits) (*keys.Identity, keys.Reason) {
	if keys.CheckName(tenant) != nil {
		return nil, keys.NoTenant
	}
	name = kind + keys.Presentable(name)
	return &keys.Identity{
		Key: name, Tenant: tenant, Label: kind[:len(kind)-1], Limits: limits,
		Limit: p.door.table.Issued(time.Now(), tenant+"/"+name, limits),
	}, keys.Known
}

// issuedLimits are those of who has none of his own.
func (c *Config) issuedLimits() limit.Limits {
	return limit.Limits{
		RequestsPerSecond: c.IssuedRequestsPerSecond, Burst: c.IssuedBurst,
		TokensPerMinute: c.IssuedTokensPerMinute, MaxConcurrent: c.IssuedMaxConcurrent,
	}
}
