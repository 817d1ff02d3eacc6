package proxy

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/semantic-pod/semantic/api"
	"github.com/valyala/fasthttp"
)

// route is a path that the proxy knows. Its template is the label of its metrics,
// so that no client can make new series.
type route struct {
	template string
	methods  []string
	local    func(*Proxy, *exchange) // answers here; nil forwards to the engine
	probe    bool                    // health and metrics: no requests, never counted
	tokens   bool                    // it makes some, which a key's budget pays for
	admin    bool                    // needs an admin key, and no limit holds it up
}

// otherPath labels what is no route of ours.
const otherPath = "other"

var routes = func() map[string]*route {
	m := map[string]*route{}
	for _, r := range []*route{
		{template: "/v1/chat/completions", methods: []string{"POST"}, tokens: true},
		{template: "/v1/completions", methods: []string{"POST"}, tokens: true},
		{template: "/v1/messages", methods: []string{"POST"}, tokens: true},
		{template: "/v1/messages/count_tokens", methods: []string{"POST"}},
		{template: "/v1/models", methods: []string{"GET"}},
		{template: agentsPath, methods: []string{"GET", "POST"}},
		{template: agentPath, methods: []string{"GET", "DELETE"}},
		{template: generatePath, methods: []string{"POST"}, tokens: true},
		{template: "/admin/keys/reload", methods: []string{"POST"}, local: (*Proxy).answerReload, admin: true},
		{template: "/admin/log-level", methods: []string{"PUT"}, local: (*Proxy).answerLogLevel, admin: true},
		{template: "/admin/drain", methods: []string{"POST", "GET", "DELETE"}, local: (*Proxy).answerDrain, admin: true},
		{template: "/admin/model", methods: anyMethod, admin: true},
		{template: modelAction, methods: anyMethod, admin: true},
		{template: "/admin/cache", methods: anyMethod, admin: true},
		{template: cacheAction, methods: anyMethod, admin: true},
		{template: "/health", methods: getOrHead, local: (*Proxy).answerReady, probe: true},
		{template: "/health/live", methods: getOrHead, local: (*Proxy).answerLive, probe: true},
		{template: "/health/ready", methods: getOrHead, local: (*Proxy).answerReady, probe: true},
		{template: "/health/startup", methods: getOrHead, local: (*Proxy).answerStartup, probe: true},
		{template: metricsPath, methods: getOrHead, local: (*Proxy).answerMetrics, probe: true},
		{template: "/version", methods: getOrHead, local: (*Proxy).answerVersion},
	} {
		m[r.template] = r
	}
	return m
}()

var (
	getOrHead = []string{"GET", "HEAD"}
	anyMethod = []string{"POST", "GET", "PUT", "DELETE"}
)

const metricsPath = "/metrics"

// The routes of agents.
const (
	agentsPath   = "/v1/agents"
	agentPath    = agentsPath + "/{id}"
	generatePath = agentPath + generates
	generates    = "/generate"
)

// What is done to the engine's model and cache is the engine's to know.
const (
	adminPath   = "/admin/"
	modelAction = adminPath + "model/{action}"
	cacheAction = adminPath + "cache/{action}"
)

// routeOf finds the route of a path. An agent's name in it is passed on as it came.
func routeOf(path []byte) *route {
	rest, below := bytes.CutPrefix(path, []byte(agentsPath+"/"))
	if !below {
		if bytes.HasPrefix(path, []byte(adminPath)) {
			return adminRouteOf(path)
		}
		return routes[string(path)]
	}
	id, generate := bytes.CutSuffix(rest, []byte(generates))
	if len(id) == 0 || len(id) > 3*maxAgent {
		return nil
	}
	for _, c := range id {
		if !segmentBytes[c] {
			return nil
		}
	}
	if generate {
		return routes[generatePath]
	}
	return routes[agentPath]
}

func adminRouteOf(path []byte) *route {
	if r := routes[string(path)]; r != nil {
		return r
	}
	for _, template := range []string{modelAction, cacheAction} {
		action, below := bytes.CutPrefix(path, []byte(strings.TrimSuffix(template, "{action}")))
		if below && len(action) > 0 && len(action) <= longestAction && isWord(action) {
			return routes[template]
		}
	}
	return nil
}

// longestAction bounds the last word of an admin path.
const longestAction = 32

func isWord(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}

// segmentBytes are the characters of a segment of a path (RFC 3986, 3.3).
var segmentBytes = letters("-._~!$&'()*+,;=:@%")

// label returns the value of the label path.
func (x *exchange) label() string {
	if x.route == nil {
		return otherPath
	}
	return x.route.template
}

// methodLabels are the values of the label method.
var methodLabels = []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"}

func methodLabel(method []byte) string {
	for _, m := range methodLabels {
		if string(method) == m {
			return m
		}
	}
	return "other"
}

// route sends away what no route or method of ours is. Methods are compared as
// they came: they are case-sensitive.
func (p *Proxy) route(x *exchange, next handler) {
	x.hideByListener()
	if x.route == nil {
		x.fail(errNoRoute(x))
		return
	}
	method := x.ctx.Method()
	for _, m := range x.route.methods {
		if string(method) == m {
			next(x)
			return
		}
	}
	allow := strings.Join(x.route.methods, ", ")
	x.fail(&api.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
		Message: fmt.Sprintf("%s takes %s, not %s", x.route.template, allow, brief(method))})
	x.ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
}

// hideByListener splits the routes when --metrics-listen is given: there /metrics
// is all that there is, and elsewhere it is not.
func (x *exchange) hideByListener() {
	isMetrics := x.route != nil && x.route.template == metricsPath
	if x.conn.scrapes != isMetrics && (x.conn.scrapes || x.p.cfg.MetricsListen != "") {
		x.route = nil
	}
}

// answerLocally answers what needs neither key nor engine.
func (p *Proxy) answerLocally(x *exchange, next handler) {
	if x.route.local == nil || x.route.admin {
		next(x)
		return
	}
	x.finish = api.FinishOK
	x.route.local(p, x)
}

// brief quotes the start of what a client sent, for a message to that client.
func brief(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%.64q…", b)
	}
	return fmt.Sprintf("%q", b)
}
