package proxy

import (
	"bytes"
	"encoding/binary"
)

// head is what the proxy takes from a request's headers, read in one pass over
// them as they came. fasthttp has parsed them before; what it forgives, this does
// not: two readers that disagree on where a request ends are how one request is
// smuggled inside another.
type head struct {
	requestID, traceparent, tracestate []byte
	agent, session                     []byte
	contentType, contentEncoding       []byte
	anthropicVersion, anthropicBeta    []byte
	authorization, apiKey              []byte // never logged, never passed on
	origin, corsMethod, corsHeaders    []byte
	te, connection, expect             []byte
	host, length                       []byte // the first ones

	hosts, lengths, codings, connections int

	bad string // what is wrong with the headers; "" if nothing is
}

// read reads the header block, up to and with the empty line.
func (h *head) read(raw []byte) {
	for len(raw) > 0 && h.bad == "" {
		i := bytes.IndexByte(raw, '\n')
		if i < 1 || raw[i-1] != '\r' {
			h.bad = "a header line does not end in CR LF"
			return
		}
		line := raw[:i-1]
		raw = raw[i+1:]
		if len(line) > 0 {
			h.readLine(line)
		}
	}
	h.judge()
}

func (h *head) readLine(line []byte) {
	if line[0] == ' ' || line[0] == '\t' {
		h.bad = "a header is folded over two lines"
		return
	}
	name, value, bad := cutLine(line)
	if bad != "" {
		h.bad = bad
		return
	}
	h.take(name, value)
}

// cutLine splits a line of headers, and says what is wrong with it if anything is.
func cutLine(line []byte) (name, value []byte, bad string) {
	i := 0
	for i < len(line) && tokenBytes[line[i]] {
		i++
	}
	switch {
	case i == len(line) || i == 0 && line[0] == ':':
		return nil, nil, "a header line has no name"
	case line[i] != ':' && bytes.IndexByte(line[i:], ':') < 0:
		return nil, nil, "a header line has no name"
	case line[i] != ':':
		return nil, nil, "a header's name holds a character that no name may hold"
	}
	name, value = line[:i], trimmedValue(line[i+1:])
	if !printable(value) {
		return nil, nil, "a header's value holds a control character"
	}
	return name, value, ""
}

// trimmedValue takes white space off both ends of a header's value.
func trimmedValue(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// printable reports that a header's value holds no control character but tabs. It
// looks at eight bytes at once while they are plain ASCII.
func printable(b []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		v := binary.LittleEndian.Uint64(b)
		if (v|(v-each*' ')|(v+each))&high != 0 { // neither above 0x7e nor below a blank
			break
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// take keeps the headers that the proxy looks at. Of one that is given twice the
// first counts.
func (h *head) take(name, value []byte) {
	var to *[]byte
	switch len(name) {
	case len("te"):
		if is(name, "te") {
			to = &h.te
		}
	case len("host"):
		if is(name, "host") {
			h.hosts++
			h.checkHost(value)
			to = &h.host
		}
	case len("origin"):
		if is(name, "origin") {
			to = &h.origin
		} else if is(name, "expect") {
			to = &h.expect
		}
	case len("access-control-request-method"):
		if is(name, "access-control-request-method") {
			to = &h.corsMethod
		}
	case len("access-control-request-headers"):
		if is(name, "access-control-request-headers") {
			to = &h.corsHeaders
		}
	case len("x-api-key"):
		if is(name, "x-api-key") {
			to = &h.apiKey
		}
	case len("authorization"):
		if is(name, "authorization") {
			to = &h.authorization
		}
	case len("tracestate"):
		if is(name, "tracestate") {
			to = &h.tracestate
		} else if is(name, "x-agent-id") {
			to = &h.agent
		} else if is(name, "connection") {
			h.connections++
			to = &h.connection
		}
	case len("traceparent"):
		if is(name, "traceparent") {
			to = &h.traceparent
		}
	case len("x-request-id"):
		if is(name, "x-request-id") {
			to = &h.requestID
		} else if is(name, "x-session-id") {
			to = &h.session
		} else if is(name, "content-type") {
			to = &h.contentType
		}
	case len("content-length"):
		if is(name, "content-length") {
			h.lengths++
			h.checkLength(value)
			to = &h.length
		} else if is(name, "anthropic-beta") {
			to = &h.anthropicBeta
		}
	case len("content-encoding"):
		if is(name, "content-encoding") {
			to = &h.contentEncoding
		}
	case len("transfer-encoding"):
		if is(name, "transfer-encoding") {
			h.codings++
			h.checkCoding(value)
		} else if is(name, "anthropic-version") {
			to = &h.anthropicVersion
		}
	}
	if to != nil && *to == nil {
		*to = value
	}
}

func (h *head) checkHost(value []byte) {
	for _, c := range value {
		if !hostBytes[c] {
			h.bad = "the Host header is no host"
		}
	}
}

func (h *head) checkLength(value []byte) {
	for _, c := range value {
		if c < '0' || c > '9' {
			h.bad = "the Content-Length header is no number"
		}
	}
	if len(value) == 0 {
		h.bad = "the Content-Length header is empty"
	}
}

func (h *head) checkCoding(value []byte) {
	if !is(value, "chunked") {
		h.bad = "the only Transfer-Encoding that is taken is chunked"
	}
}

// judge finds what is wrong with the headers as a whole.
func (h *head) judge() {
	switch {
	case h.bad != "":
	case h.hosts > 1:
		h.bad = "there is more than one Host header"
	case h.lengths > 1:
		h.bad = "there is more than one Content-Length header"
	case h.codings > 1:
		h.bad = "there is more than one Transfer-Encoding header"
	case h.lengths > 0 && h.codings > 0:
		h.bad = "Content-Length and Transfer-Encoding contradict each other"
	}
}

// is compares without regard to case; word is in lower case.
func is(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	// Of what a header may hold, the bit makes nothing but capital letters another letter,
	// digit or mark of a word.
	const bit = 0x20
	for ; len(word) >= 8; b, word = b[8:], word[8:] {
		if binary.LittleEndian.Uint64(b)|bit*0x0101010101010101 != eight(word) {
			return false
		}
	}
	for i := range word {
		if b[i]|bit != word[i] {
			return false
		}
	}
	return true
}

// eight are a word's first letters, as LittleEndian reads them.
func eight(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// tokenBytes are the characters of a header's name (RFC 9110, 5.6.2), hostBytes
// those of a host and port (RFC 3986, 3.2.2).
var (
	tokenBytes = letters("!#$%&'*+-.^_`|~")
	hostBytes  = letters(".-_~:[]%!$&'()*+;=")
)

// letters is the set of the letters, the digits and the extra ones.
func letters(extra string) (set [256]bool) {
	for c := range set {
		set[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
	}
	for _, c := range []byte(extra) {
		set[c] = true
	}
	return set
}

// pathOf returns the path as it came, without query or the scheme and host of an
// absolute target. It is never decoded: %2e and // are part of no route of ours.
func pathOf(target []byte) []byte {
	if len(target) > 0 && target[0] != '/' {
		if i := bytes.Index(target, []byte("://")); i >= 0 {
			target = target[i+3:]
			j := bytes.IndexByte(target, '/')
			if j < 0 {
				return nil
			}
			target = target[j:]
		}
	}
	if i := bytes.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	return target
}
