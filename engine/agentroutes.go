package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/cold"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/openai"
)

// The routes of agents, as they stand in the log.
const (
	agentsPath   = "/v1/agents"
	agentPath    = "/v1/agents/{id}"
	generatePath = "/v1/agents/{id}/generate"
)

const (
	maxAgentID   = 256              // bytes, as in the proxy
	agentTimeout = 10 * time.Second // of a look into memory or a deletion on disk
)

// agentRoutes lists the routes of agents by template. An agent is seen by its own
// tenant only: to others it does not exist.
func (e *Engine) agentRoutes() map[string]methods {
	return map[string]methods{
		agentsPath:   {http.MethodGet: e.listAgents, http.MethodPost: e.createAgent},
		agentPath:    {http.MethodGet: e.showAgent, http.MethodDelete: e.deleteAgent},
		generatePath: {http.MethodPost: e.generateForAgent},
	}
}

// methods are what one path does, by method.
type methods map[string]func(*exchange)

// serve picks by method.
func (m methods) serve(x *exchange) {
	f, ok := m[x.r.Method]
	if !ok {
		allow := make([]string, 0, len(m))
		for method := range m {
			allow = append(allow, method)
		}
		slices.Sort(allow)
		x.w.Header().Set("Allow", strings.Join(allow, ", "))
		x.fail(&api.Error{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Message: fmt.Sprintf("%s takes %s, not %s", x.template, strings.Join(allow, ", "), x.r.Method),
		})
		return
	}
	f(x)
}

// find returns the route of a request, and notes its template and its agent.
func (e *Engine) find(x *exchange) (route, bool) {
	path := x.r.URL.EscapedPath()
	rest, below := strings.CutPrefix(path, agentsPath+"/")
	switch {
	case path == agentsPath:
		x.template = agentsPath
	case below:
		segment, generates := strings.CutSuffix(rest, "/generate")
		id, err := url.PathUnescape(segment)
		if err != nil || strings.Contains(segment, "/") || !validAgentID(id) {
			return route{}, false
		}
		x.agent, x.template = id, agentPath
		if generates {
			x.template = generatePath
		}
	case strings.HasPrefix(path, api.PathAgents+"/"):
		return e.findPodAgent(x, path[len(api.PathAgents)+1:])
	default:
		rt, known := e.routes[path]
		if known {
			x.template = path
		}
		return rt, known
	}
	return route{method: x.r.Method, serve: e.agentRoutes()[x.template].serve}, true
}

func validAgentID(id string) bool {
	return id != "" && len(id) <= maxAgentID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// agentInfo is an agent as clients see it.
type agentInfo struct {
	ID       string `json:"id"`
	Object   string `json:"object"` // "agent"
	Tier     string `json:"tier"`   // hot: in memory; warm: on disk; cold: in the cold store alone
	Tokens   int    `json:"tokens"` // that its next turn need not compute
	Bytes    int64  `json:"bytes"`  // that they take in that tier
	Created  int64  `json:"created"`
	LastUsed int64  `json:"last_used"`
}

// agentKeeper is a backend that has agents.
type agentKeeper interface {
	// agents returns a tenant's agents by id; with an id, that one alone.
	agents(ctx context.Context, tenant, id string) ([]agentInfo, error)
	// create makes an agent that has no memory yet. It is false if there is one already.
	create(ctx context.Context, tenant, id string) (agentInfo, bool, error)
	// remove deletes an agent in every tier. It is false if there was none.
	remove(ctx context.Context, tenant, id string) (bool, error)
}

// keeper returns what has the agents, or has answered why nothing does.
func (x *exchange) keeper() (agentKeeper, bool) {
	b, err := x.engine.serving()
	if err != nil {
		x.fail(err)
		return nil, false
	}
	k, ok := b.(agentKeeper)
	if !ok {
		x.fail(&api.Error{Status: http.StatusNotImplemented, Code: "unsupported", Message: "this engine's backend has no agents"})
	}
	return k, ok
}

// within bounds the time of a request that is no generation.
func (x *exchange) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.r.Context(), agentTimeout)
}

// failAgent answers that the agents could not be reached.
func (x *exchange) failAgent(err error) {
	x.engine.log.Zap().Warn("agents could not be reached", zap.Error(err), zap.String("request_id", x.id))
	x.fail(&api.Error{Status: http.StatusServiceUnavailable, Code: "agents_unavailable", RetryAfter: time.Second, Message: "the agents could not be reached in time; try again"})
}

func errNoAgent(id string) *api.Error {
	return &api.Error{Status: http.StatusNotFound, Code: "agent_not_found", Param: "id", Message: fmt.Sprintf("there is no agent %q", id)}
}

// listAgents answers GET /v1/agents.
func (e *Engine) listAgents(x *exchange) {
	k, ok := x.keeper()
	if !ok {
		return
	}
	ctx, cancel := x.within()
	defer cancel()
	list, err := k.agents(ctx, x.tenant, "")
	if err != nil {
		x.failAgent(err)
		return
	}
	x.marshal(struct {
		Object string      `json:"object"`
		Data   []agentInfo `json:"data"`
	}{"list", list})
}

// showAgent answers GET /v1/agents/{id}.
func (e *Engine) showAgent(x *exchange) {
	if info, ok := x.lookUp(); ok {
		x.marshal(info)
	}
}

// lookUp returns the agent of the path, or has answered why it cannot.
func (x *exchange) lookUp() (agentInfo, bool) {
	k, ok := x.keeper()
	if !ok {
		return agentInfo{}, false
	}
	ctx, cancel := x.within()
	defer cancel()
	list, err := k.agents(ctx, x.tenant, x.agent)
	switch {
	case err != nil:
		x.failAgent(err)
	case len(list) == 0:
		x.fail(errNoAgent(x.agent))
	default:
		return list[0], true
	}
	return agentInfo{}, false
}

// createAgent answers POST /v1/agents: {"id": "..."}, or {} for a name of ours.
func (e *Engine) createAgent(x *exchange) {
	k, ok := x.keeper()
	if !ok {
		return
	}
	body, fault := x.body()
	if fault == nil {
		x.agent, fault = readAgentID(body)
	}
	if fault != nil {
		x.fail(fault)
		return
	}
	ctx, cancel := x.within()
	defer cancel()
	info, made, err := k.create(ctx, x.tenant, x.agent)
	switch {
	case err != nil:
		x.failAgent(err)
	case !made:
		x.fail(&api.Error{Status: http.StatusConflict, Code: "agent_exists", Param: "id", Message: fmt.Sprintf("there is an agent %q already", x.agent)})
	default:
		x.w.Header().Set("Location", agentsPath+"/"+url.PathEscape(info.ID))
		x.marshalAs(http.StatusCreated, info)
	}
}

// readAgentID reads the body of POST /v1/agents.
func readAgentID(body []byte) (string, *api.Error) {
	v, err := dialect.Parse(body)
	if err != nil {
		return "", err
	}
	o := v.Object()
	o.Allow("id")
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	id := "agent-" + hex.EncodeToString(b[:])
	if given, ok := o.Get("id"); ok {
		if id = given.String(); !validAgentID(id) {
			given.Fail(dialect.CodeInvalidValue, "id must have 1 to %d bytes of text without control characters", maxAgentID)
		}
	}
	return id, o.Err()
}

// deleteAgent answers DELETE /v1/agents/{id}.
func (e *Engine) deleteAgent(x *exchange) {
	k, ok := x.keeper()
	if !ok {
		return
	}
	ctx, cancel := x.within()
	defer cancel()
	removed, err := k.remove(ctx, x.tenant, x.agent)
	switch {
	case err != nil:
		x.failAgent(err)
	case !removed:
		x.fail(errNoAgent(x.agent))
	default:
		x.marshal(struct {
			ID      string `json:"id"`
			Object  string `json:"object"`
			Deleted bool   `json:"deleted"`
		}{x.agent, "agent.deleted", true})
	}
}

// generateForAgent answers POST /v1/agents/{id}/generate: the body of a chat (with
// messages) or of a completion (with a prompt), whose model may be left out, for an
// agent that exists.
func (e *Engine) generateForAgent(x *exchange) {
	if _, ok := x.lookUp(); ok {
		e.generate(agentForm)(x)
	}
}

var agentForm = form{api.OpenAI, decodeForAgent, func(model, fingerprint string, r *dialect.Request) encoder {
	if r.Messages != nil {
		return openai.NewChat(model, fingerprint, r)
	}
	return openai.NewCompletion(model, fingerprint, r)
}}

func decodeForAgent(body []byte) (*dialect.Request, *api.Error) {
	v, err := dialect.Parse(body)
	if err != nil {
		return nil, err
	}
	o := v.Object()
	if err := o.Err(); err != nil {
		return nil, err
	}
	if _, given := o.Get("model"); !given {
		var fields map[string]json.RawMessage
		if bad := json.Unmarshal(body, &fields); bad != nil || fields == nil {
			return nil, &api.Error{Status: http.StatusBadRequest, Code: dialect.CodeInvalidJSON, Message: "the body must be a JSON object"}
		}
		fields["model"] = json.RawMessage(`"` + defaultModel + `"`)
		if body, bad := json.Marshal(fields); bad == nil {
			return decodeByContent(body, o)
		}
	}
	return decodeByContent(body, o)
}

func decodeByContent(body []byte, o dialect.Object) (*dialect.Request, *api.Error) {
	if _, plain := o.Get("prompt"); plain {
		return openai.Completion(body)
	}
	return openai.Chat(body)
}

// agents lists what is in memory and on disk. What is in both counts as hot.
func (n *native) agents(ctx context.Context, tenant, id string) ([]agentInfo, error) {
	list, err := inquire(ctx, n.scheduler, func() []agentInfo { return n.scheduler.hotAgents(tenant, id) })
	if err != nil {
		return nil, err
	}
	if n.disk != nil {
		list = append(list, n.disk.agents(tenant, id)...)
	}
	if n.cold != nil {
		if list, err = n.coldAgents(ctx, list, tenant, id); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b agentInfo) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(list, func(a, b agentInfo) bool { return a.ID == b.ID }), nil
}

// hotAgents is the loop's.
func (s *scheduler) hotAgents(tenant, id string) []agentInfo {
	list := []agentInfo{}
	for _, a := range s.agents.known {
		if a.tenant == tenant && (id == "" || a.id == id) {
			list = append(list, agentInfo{
				ID: a.id, Object: "agent", Tier: "hot", Tokens: len(a.tokens), Bytes: int64(len(a.chain.Blocks())) * int64(s.kv.BlockBytes()),
				Created: a.created.Unix(), LastUsed: a.used.Unix(),
			})
		}
	}
	return list
}

func (n *native) create(ctx context.Context, tenant, id string) (info agentInfo, made bool, err error) {
	before, err := n.agents(ctx, tenant, id)
	if err != nil && !errors.Is(err, cold.ErrAway) || len(before) > 0 {
		return info, false, err
	}
	s, name := n.scheduler, agentName{tenant, id}
	made, err = inquire(ctx, s, func() bool {
		if s.agents.known[name] != nil {
			return false
		}
		s.agents.take(name, time.Now())
		s.boundAgents()
		return true
	})
	now := time.Now().Unix()
	return agentInfo{ID: id, Object: "agent", Tier: "hot", Created: now, LastUsed: now}, made, err
}

func (n *native) remove(ctx context.Context, tenant, id string) (bool, error) {
	removed, err := inquire(ctx, n.scheduler, func() bool { return n.scheduler.forget(agentName{tenant, id}) })
	if err != nil || n.disk == nil {
		return removed, err
	}
	onDisk, err := n.disk.remove(ctx, tenant, id)
	if err != nil || n.cold == nil {
		return removed || onDisk, err
	}
	inStore, err := n.cold.Delete(ctx, tenant, id)
	return removed || onDisk || inStore, err
}
