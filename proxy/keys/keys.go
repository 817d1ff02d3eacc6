// Package keys says who sends a request: it makes API keys, keeps them in a file as
// digests, and looks up the one that a request presents.
//
// The file is YAML, since people edit it: a list under `keys`, one entry a key, with
// comments that stay where they are when a command changes the file. (A line of JSON
// a key would be read faster; at ten thousand keys YAML takes a third of a second, in
// the background, when the file changes.) It holds no key, only the SHA-256 of each,
// which is no help in finding one, since a key has 256 random bits:
//
//	keys:
//	  - name: ci
//	    tenant: acme
//	    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//	    created: 2026-01-02T03:04:05Z
//	    expires: 2026-04-02T03:04:05Z       # also a mere date
//	    requests_per_second: 5              # this and the next three: absent is no limit
//	    burst: 10
//	    tokens_per_minute: 60000
//	    max_concurrent: 4
//	    admin: true
//	    revoked: 2026-03-01T00:00:00Z       # from then on; may lie in the future
//	    previous:                           # keys that this one replaced
//	      - sha256: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
//	        revoked: 2026-02-02T03:04:05Z
//
// A file with anything else in it, or anything twice, is refused as a whole, with
// its name and line, and what was read before stays in force. Others than its owner
// must not be able to write it.
//
// Read: keys, format, set, store, watch, then the file: entry, parse, field, environ,
// edit, editor, write.
package keys

import (
	"github.com/semantic-pod/semantic/proxy/limit"
)

// Identity is who sends a request, whatever it was recognised by.
type Identity struct {
	Key    string // the key's name; never the key
	Tenant string
	Label  string // the key's name in metrics: of a bounded number of keys their own, else "other"
	Admin  bool
	Limits limit.Limits
	Limit  *limit.Key // decides on its requests; the same over readings of the file
}

// Reason says why a request has no Identity: a label of semantic_auth_failures_total.
type Reason string

// The reasons.
const (
	Known     Reason = ""          // it has one
	Missing   Reason = "missing"   // no key was presented
	Malformed Reason = "malformed" // it cannot be a key of ours: a part is missing or mistyped
	Unknown   Reason = "unknown"
	Expired   Reason = "expired"
	Revoked   Reason = "revoked"   // or replaced, and the overlap is over
	Untrusted Reason = "untrusted" // a token with a wrong signature, issuer, audience or form
	NoTenant  Reason = "no_tenant" // a token or certificate that names no tenant
	NoAdmin   Reason = "no_admin"  // it is good, but not for what it was presented for
)

// Reasons lists those of a refusal, for the metric.
var Reasons = []Reason{Missing, Malformed, Unknown, Expired, Revoked, Untrusted, NoTenant, NoAdmin}

// Message tells the client, who holds the key, what to do.
func (r Reason) Message() string {
	switch r {
	case Missing:
		return "an API key is needed: send it as Authorization: Bearer KEY or as x-api-key"
	case Malformed:
		return "the API key is mistyped or cut off: its checksum does not match"
	case Expired:
		return "the API key, token or certificate has expired"
	case Revoked:
		return "the API key was revoked"
	case Untrusted:
		return "the token is not accepted: its signature, issuer, audience or time is not what is asked for here"
	case NoTenant:
		return "the token or certificate names no tenant that could be one"
	case NoAdmin:
		return "this needs an admin key: one that was made with `semantic keys create --admin`, or that of SEMANTIC_ADMIN_KEY or --admin-key-file"
	}
	return "the API key is not known here"
}
