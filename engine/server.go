package engine

import (
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/anthropic"
	"github.com/semantic-pod/semantic/engine/dialect"
	"github.com/semantic-pod/semantic/engine/openai"
)

// route is what one path does.
type route struct {
	method   string
	serve    func(*exchange)
	internal bool // asked by our own processes: no request of a client's, and not logged
}

// table lists every route of the engine.
func (e *Engine) table() map[string]route {
	all := map[string]route{
		"/v1/chat/completions":      {method: http.MethodPost, serve: e.generate(chatForm)},
		"/v1/completions":           {method: http.MethodPost, serve: e.generate(completionForm)},
		"/v1/messages":              {method: http.MethodPost, serve: e.generate(messagesForm)},
		"/v1/messages/count_tokens": {method: http.MethodPost, serve: e.countTokens},
		"/v1/models":                {method: http.MethodGet, serve: e.listModels},
		api.PathState:               {method: http.MethodGet, serve: e.serveState, internal: true},
		api.PathMetrics:             {method: http.MethodGet, serve: e.serveMetrics, internal: true},
		api.PathLogLevel:            {method: http.MethodPut, serve: func(x *exchange) { e.log.ServeLevel(x.w, x.r) }, internal: true},
		api.PathBuild:               {method: http.MethodGet, serve: e.serveBuild, internal: true},
		api.PathSettings:            {method: http.MethodGet, serve: e.serveSettings, internal: true},
		api.PathAgents:              {method: http.MethodGet, serve: e.listPodAgents, internal: true},
	}
	maps.Copy(all, e.adminRoutes())
	return all
}

// form is how one route's bodies are read and its answers written.
type form struct {
	dialect api.Dialect
	decode  func([]byte) (*dialect.Request, *api.Error)
	encoder func(model, fingerprint string, r *dialect.Request) encoder
}

var (
	chatForm = form{api.OpenAI, openai.Chat, func(model, fingerprint string, r *dialect.Request) encoder {
		return openai.NewChat(model, fingerprint, r)
	}}
	completionForm = form{api.OpenAI, openai.Completion, func(model, fingerprint string, r *dialect.Request) encoder {
		return openai.NewCompletion(model, fingerprint, r)
	}}
	messagesForm = form{api.Anthropic, anthropic.Messages, func(model, _ string, r *dialect.Request) encoder {
		return anthropic.NewEncoder(model, r)
	}}
	countForm = form{dialect: api.Anthropic, decode: anthropic.CountTokens}
)

// ServeHTTP answers one request and writes its log line.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.exchanges.add(1)
	defer e.exchanges.add(-1)
	x := newExchange(e, w, r)
	rt, known := e.find(x)
	defer x.close(rt.internal)
	defer x.recover()
	switch {
	case !known:
		x.fail(&api.Error{
			Status: http.StatusNotFound, Code: "not_found",
			Message: fmt.Sprintf("unknown route: %s %s", r.Method, r.URL.Path),
		})
	case r.Method != rt.method:
		w.Header().Set("Allow", rt.method)
		x.fail(&api.Error{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Message: fmt.Sprintf("%s takes %s, not %s", r.URL.Path, rt.method, r.Method),
		})
	default:
		rt.serve(x)
	}
}

// recover turns a fault in a handler into an answer and a log line.
func (x *exchange) recover() {
	fault := recover()
	if fault == nil {
		return
	}
	x.engine.log.Zap().Error("a handler panicked", zap.Any("panic", fault), zap.String("request_id", x.id), zap.ByteString("stack", debug.Stack()))
	if x.status != 0 {
		x.finish = api.FinishError
		panic(http.ErrAbortHandler) // part of an answer is out: cut it off
	}
	x.fail(errFault)
}

// listModels answers GET /v1/models.
func (e *Engine) listModels(x *exchange) {
	b, err := e.serving()
	if err != nil {
		x.fail(err)
		return
	}
	x.finish = api.FinishOK
	x.w.Header().Set(api.HeaderFinish, string(x.finish))
	x.json(http.StatusOK, openai.AppendModels(nil, b.card().created.Unix(), e.names(b)...))
}

// countTokens answers POST /v1/messages/count_tokens with what the prompt of such a
// request would have.
func (e *Engine) countTokens(x *exchange) {
	b, err := e.serving()
	if err != nil {
		x.fail(err)
		return
	}
	req, err := e.receive(x, b, countForm)
	if err != nil {
		x.fail(err)
		return
	}
	ctx, cancel := x.within()
	defer cancel()
	n, err := b.count(ctx, req)
	if err != nil {
		x.fail(err)
		return
	}
	x.finish = api.FinishOK
	x.w.Header().Set(api.HeaderFinish, string(x.finish))
	x.json(http.StatusOK, anthropic.AppendCount(nil, n))
}

// known says whether the model's name is one of ours.
func (e *Engine) known(b backend, model string) *api.Error {
	if model == defaultModel || slices.Contains(e.names(b), model) {
		return nil
	}
	return &api.Error{
		Status: http.StatusNotFound, Code: "model_not_found", Param: "model",
		Message: "there is no such model; GET /v1/models lists those that are served",
	}
}

const statusClientGone = 499 // nginx's number for a client that left

var errLoading = &api.Error{
	Status: http.StatusServiceUnavailable, Code: "model_loading", Finish: api.FinishShed, RetryAfter: time.Second,
	Message: "the model is being loaded",
}

var errStopping = &api.Error{
	Status: http.StatusServiceUnavailable, Code: "shutting_down", Finish: api.FinishShed, RetryAfter: time.Second,
	Message: "the engine is shutting down",
}
