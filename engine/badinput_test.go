package engine

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/enginetest"
)

// badBody is a body that must be refused, and the words that it is refused with.
type badBody struct{ path, body, code, param string }

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
)

// with returns a chat body that is good but for the fields added.
func with(fields string) string {
	return `{"model":"default","messages":[{"role":"user","content":"a"}],` + fields + `}`
}

// message returns a chat body whose only message has the fields given.
func message(fields string) string { return `{"model":"default","messages":[{` + fields + `}]}` }

// prompt returns a completion body that is good but for the fields added.
func prompt(fields string) string { return `{"model":"default","prompt":"a",` + fields + `}` }

var badBodies = []badBody{
	{chatPath, ``, "invalid_json", ""},
	{chatPath, `{`, "invalid_json", ""},
	{chatPath, `{"model":}`, "invalid_json", ""},
	{chatPath, `{} {}`, "invalid_json", ""},
	{chatPath, "{\"model\":\"\xff\"}", "invalid_json", ""},
	{chatPath, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "invalid_json", ""},
	{chatPath, `[]`, "invalid_type", ""},
	{chatPath, `"chat"`, "invalid_type", ""},
	{chatPath, `null`, "invalid_type", ""},
	{chatPath, `{}`, "missing_required_parameter", "messages"},
	{chatPath, `{"messages":[{"role":"user","content":"a"}]}`, "missing_required_parameter", "model"},
	{chatPath, `{"model":null,"messages":[{"role":"user","content":"a"}]}`, "missing_required_parameter", "model"},
	{chatPath, `{"model":7,"messages":[{"role":"user","content":"a"}]}`, "invalid_type", "model"},
	{chatPath, `{"model":"default"}`, "missing_required_parameter", "messages"},
	{chatPath, `{"model":"default","messages":[]}`, "invalid_value", "messages"},
	{chatPath, `{"model":"default","messages":"hello"}`, "invalid_type", "messages"},
	{chatPath, `{"model":"default","messages":["hello"]}`, "invalid_type", "messages[0]"},
	{chatPath, message(`"content":"a"`), "missing_required_parameter", "messages[0].role"},
	{chatPath, message(`"role":"user"`), "missing_required_parameter", "messages[0].content"},
	{chatPath, message(`"role":"user","content":null`), "missing_required_parameter", "messages[0].content"},
	{chatPath, message(`"role":"king","content":"a"`), "invalid_value", "messages[0].role"},
	{chatPath, message(`"role":1,"content":"a"`), "invalid_type", "messages[0].role"},
	{chatPath, message(`"role":"function","content":"a"`), "unsupported_parameter", "messages[0].role"},
	{chatPath, message(`"role":"tool","content":"a"`), "missing_required_parameter", "messages[0].tool_call_id"},
	{chatPath, message(`"role":"tool","tool_call_id":"x","content":"a"`), "invalid_value", "messages[0]"},
	{chatPath, message(`"role":"user","tool_call_id":"x","content":"a"`), "invalid_value", "messages[0].tool_call_id"},
	{chatPath, message(`"role":"user","content":"a","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]`), "invalid_value", "messages[0].tool_calls[0]"},
	{chatPath, message(`"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{"}}]`), "invalid_value", "messages[0].tool_calls[0].function.arguments"},
	{chatPath, message(`"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"[]"}}]`), "invalid_value", "messages[0].tool_calls[0].function.arguments"},
	{chatPath, message(`"role":"assistant","tool_calls":[{"id":"x","type":"custom","function":{"name":"f","arguments":"{}"}}]`), "unsupported_parameter", "messages[0].tool_calls[0].type"},
	{chatPath, message(`"role":"user","content":7`), "invalid_type", "messages[0].content"},
	{chatPath, message(`"role":"user","content":{"type":"text","text":"a"}`), "invalid_type", "messages[0].content"},
	{chatPath, message(`"role":"user","content":[]`), "invalid_value", "messages[0].content"},
	{chatPath, message(`"role":"user","content":["a"]`), "invalid_type", "messages[0].content[0]"},
	{chatPath, message(`"role":"user","content":[{"text":"a"}]`), "missing_required_parameter", "messages[0].content[0].type"},
	{chatPath, message(`"role":"user","content":[{"type":"text"}]`), "missing_required_parameter", "messages[0].content[0].text"},
	{chatPath, message(`"role":"user","content":[{"type":"text","text":1}]`), "invalid_type", "messages[0].content[0].text"},
	{chatPath, message(`"role":"user","content":[{"type":"text","text":"a","size":1}]`), "unknown_parameter", "messages[0].content[0].size"},
	{chatPath, message(`"role":"user","content":[{"type":"smell","text":"a"}]`), "invalid_value", "messages[0].content[0].type"},
	{chatPath, message(`"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]`), "unsupported_parameter", "messages[0].content[0].type"},
	{chatPath, message(`"role":"user","content":"a","name":"bob"`), "unsupported_parameter", "messages[0].name"},
	{chatPath, message(`"role":"user","content":"a","mood":"good"`), "unknown_parameter", "messages[0].mood"},
	{chatPath, message(`"role":"assistant","content":"a","tool_calls":[{}]`), "missing_required_parameter", "messages[0].tool_calls[0].id"},
	{chatPath, `{"model":"default","messages":[{"role":"user","content":"a"},{"role":"user","content":false}]}`, "invalid_type", "messages[1].content"},

	{chatPath, with(`"max_tokens":-1`), "invalid_value", "max_tokens"},
	{chatPath, with(`"max_tokens":0`), "invalid_value", "max_tokens"},
	{chatPath, with(`"max_tokens":1.5`), "invalid_type", "max_tokens"},
	{chatPath, with(`"max_tokens":"8"`), "invalid_type", "max_tokens"},
	{chatPath, with(`"max_tokens":99999999999999999999`), "invalid_value", "max_tokens"},
	{chatPath, with(`"max_tokens":100000`), "context_length_exceeded", "max_tokens"},
	{chatPath, with(`"max_completion_tokens":100000`), "context_length_exceeded", "max_completion_tokens"},
	{chatPath, with(`"max_tokens":5,"max_completion_tokens":6`), "invalid_value", "max_completion_tokens"},
	{chatPath, with(`"temperature":-0.1`), "invalid_value", "temperature"},
	{chatPath, with(`"temperature":2.1`), "invalid_value", "temperature"},
	{chatPath, with(`"temperature":"hot"`), "invalid_type", "temperature"},
	{chatPath, with(`"temperature":1e999`), "invalid_value", "temperature"},
	{chatPath, with(`"top_p":1.01`), "invalid_value", "top_p"},
	{chatPath, with(`"top_p":-1`), "invalid_value", "top_p"},
	{chatPath, with(`"top_k":-2`), "invalid_value", "top_k"},
	{chatPath, with(`"top_k":2.5`), "invalid_type", "top_k"},
	{chatPath, with(`"min_p":2`), "invalid_value", "min_p"},
	{chatPath, with(`"seed":1.5`), "invalid_type", "seed"},
	{chatPath, with(`"seed":9223372036854775808`), "invalid_value", "seed"},
	{chatPath, with(`"stop":""`), "invalid_value", "stop"},
	{chatPath, with(`"stop":7`), "invalid_type", "stop"},
	{chatPath, with(`"stop":["a",7]`), "invalid_type", "stop[1]"},
	{chatPath, with(`"stop":["a",""]`), "invalid_value", "stop[1]"},
	{chatPath, with(`"stop":["` + strings.Repeat("x", 1025) + `"]`), "invalid_value", "stop[0]"},
	{chatPath, with(`"stop":[` + strings.Repeat(`"a",`, 16) + `"a"]`), "invalid_value", "stop"},
	{chatPath, with(`"stream":"yes"`), "invalid_type", "stream"},
	{chatPath, with(`"stream_options":{"include_usage":true}`), "invalid_value", "stream_options"},
	{chatPath, with(`"stream":true,"stream_options":true`), "invalid_type", "stream_options"},
	{chatPath, with(`"stream":true,"stream_options":{"include_usage":1}`), "invalid_type", "stream_options.include_usage"},
	{chatPath, with(`"stream":true,"stream_options":{"verbose":true}`), "unknown_parameter", "stream_options.verbose"},
	{chatPath, with(`"stream":true,"stream_options":{"include_obfuscation":true}`), "unsupported_parameter", "stream_options.include_obfuscation"},
	{chatPath, with(`"user":7`), "invalid_type", "user"},
	{chatPath, with(`"metadata":"x"`), "invalid_type", "metadata"},
	{chatPath, with(`"metadata":{"a":1}`), "invalid_type", "metadata.a"},

	{chatPath, with(`"n":0`), "invalid_value", "n"},
	{chatPath, with(`"n":129`), "invalid_value", "n"},
	{chatPath, with(`"n":17`), "invalid_value", "n"}, // more than --queue-depth
	{chatPath, with(`"n":"2"`), "invalid_type", "n"},
	{chatPath, with(`"store":true`), "unsupported_parameter", "store"},
	{chatPath, with(`"service_tier":"priority"`), "unsupported_parameter", "service_tier"},
	{chatPath, with(`"logprobs":5`), "invalid_type", "logprobs"},
	{chatPath, with(`"top_logprobs":2`), "invalid_value", "top_logprobs"},
	{chatPath, with(`"logprobs":true,"top_logprobs":21`), "invalid_value", "top_logprobs"},
	{chatPath, with(`"logit_bias":[]`), "invalid_type", "logit_bias"},
	{chatPath, with(`"logit_bias":{"a":5}`), "invalid_value", "logit_bias.a"},
	{chatPath, with(`"logit_bias":{"-1":5}`), "invalid_value", "logit_bias.-1"},
	{chatPath, with(`"logit_bias":{"1":101}`), "invalid_value", "logit_bias.1"},
	{chatPath, with(`"logit_bias":{"288":1}`), "invalid_value", "logit_bias.288"},
	{chatPath, with(`"presence_penalty":2.5`), "invalid_value", "presence_penalty"},
	{chatPath, with(`"frequency_penalty":"high"`), "invalid_type", "frequency_penalty"},
	{chatPath, with(`"frequency_penalty":3`), "invalid_value", "frequency_penalty"},
	{chatPath, with(`"tools":{}`), "invalid_type", "tools"},
	{chatPath, with(`"tools":[{"type":"function"}]`), "missing_required_parameter", "tools[0].function"},
	{chatPath, with(`"tools":[{"type":"custom","custom":{"name":"f"}}]`), "unsupported_parameter", "tools[0].type"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"no good"}}]`), "invalid_value", "tools[0].function.name"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]`), "invalid_value", "tools[1]"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string","format":"date"}}}}}]`), "unsupported_parameter", "tools[0].function.parameters.properties.a.format"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"array"}}}]`), "invalid_value", "tools[0].function.parameters"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f"}}],"response_format":{"type":"json_object"}`), "unsupported_parameter", "response_format"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"maybe"`), "invalid_value", "tool_choice"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}`), "invalid_value", "tool_choice"},
	{chatPath, with(`"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools"}`), "unsupported_parameter", "tool_choice.type"},
	{chatPath, with(`"tool_choice":"required"`), "invalid_value", "tool_choice"},
	{chatPath, with(`"tool_choice":{"type":"function"}`), "missing_required_parameter", "tool_choice.function"},
	{chatPath, with(`"parallel_tool_calls":false`), "invalid_value", "parallel_tool_calls"},
	{chatPath, with(`"functions":[]`), "unsupported_parameter", "functions"},
	{chatPath, with(`"response_format":{"type":"xml"}`), "invalid_value", "response_format.type"},
	{chatPath, with(`"response_format":{"type":"json_object","schema":{}}`), "unknown_parameter", "response_format.schema"},
	{chatPath, with(`"response_format":{"type":"json_object"},"stop":"a"`), "unsupported_parameter", "stop"},
	{chatPath, with(`"response_format":{"type":"json_schema"}`), "missing_required_parameter", "response_format.json_schema"},
	{chatPath, with(`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`), "missing_required_parameter", "response_format.json_schema.name"},
	{chatPath, with(`"response_format":{"type":"json_schema","json_schema":{"name":"a"}}`), "missing_required_parameter", "response_format.json_schema.schema"},
	{chatPath, with(`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"string","pattern":"x"}}}`), "unsupported_parameter", "response_format.json_schema.schema.pattern"},
	{chatPath, with(`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"integer","minimum":2,"maximum":1}}}`), "invalid_value", "response_format.json_schema.schema"},
	{chatPath, with(`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"description":"` + strings.Repeat("x", maxSchemaBytes) + `"}}}`), "invalid_value", "response_format.json_schema.schema"},
	{completionPath, prompt(`"response_format":{"type":"json_object"}`), "unknown_parameter", "response_format"},
	{chatPath, with(`"response_format":{}`), "missing_required_parameter", "response_format.type"},
	{chatPath, with(`"response_format":"text"`), "invalid_type", "response_format"},
	{chatPath, with(`"modalities":["text","audio"]`), "unsupported_parameter", "modalities"},
	{chatPath, with(`"audio":{}`), "unsupported_parameter", "audio"},
	{chatPath, with(`"reasoning_effort":"high"`), "unsupported_parameter", "reasoning_effort"},
	{chatPath, with(`"Temperature":1`), "unknown_parameter", "Temperature"},
	{chatPath, with(`"max_token":5`), "unknown_parameter", "max_token"},
	{chatPath, with(`"prompt":"a"`), "unknown_parameter", "prompt"},

	{completionPath, `{"model":"default"}`, "missing_required_parameter", "prompt"},
	{completionPath, `{"model":"default","prompt":""}`, "invalid_value", "prompt"},
	{completionPath, `{"model":"default","prompt":[]}`, "invalid_value", "prompt"},
	{completionPath, `{"model":"default","prompt":7}`, "invalid_type", "prompt"},
	{completionPath, `{"model":"default","prompt":{"a":1}}`, "invalid_type", "prompt"},
	{completionPath, `{"model":"default","prompt":["a","b"]}`, "unsupported_parameter", "prompt"},
	{completionPath, `{"model":"default","prompt":[[1],[2]]}`, "unsupported_parameter", "prompt"},
	{completionPath, `{"model":"default","prompt":[[["a"]]]}`, "invalid_type", "prompt[0]"},
	{completionPath, `{"model":"default","prompt":[1,"a"]}`, "invalid_type", "prompt[1]"},
	{completionPath, `{"model":"default","prompt":[-1]}`, "invalid_value", "prompt[0]"},
	{completionPath, `{"model":"default","prompt":[1,288]}`, "invalid_value", "prompt[1]"},
	{completionPath, prompt(`"echo":true`), "unsupported_parameter", "echo"},
	{completionPath, prompt(`"suffix":"b"`), "unsupported_parameter", "suffix"},
	{completionPath, prompt(`"best_of":2`), "unsupported_parameter", "best_of"},
	{completionPath, prompt(`"logprobs":6`), "invalid_value", "logprobs"},
	{completionPath, prompt(`"logprobs":true`), "invalid_type", "logprobs"},
	{completionPath, prompt(`"top_logprobs":1`), "unknown_parameter", "top_logprobs"},
	{completionPath, prompt(`"messages":[]`), "unknown_parameter", "messages"},
	{completionPath, prompt(`"max_completion_tokens":5`), "unknown_parameter", "max_completion_tokens"},
}

func TestBadBodyIsRefusedWithTheFieldToBlame(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for _, bad := range badBodies {
		r := e.post(bad.path, bad.body)
		got := r.error(t).Error
		param := ""
		if got.Param != nil {
			param = *got.Param
		}
		if r.status != http.StatusBadRequest || got.Code != bad.code || param != bad.param || got.Type != "invalid_request_error" {
			t.Errorf("%.120s\ngot  %d %s (%s) %s: %s\nwant 400 %s (%s)", bad.body, r.status, got.Code, param, got.Type, got.Message, bad.code, bad.param)
		}
		if r.header.Get(api.HeaderFinish) != "rejected" || r.header.Get(api.HeaderRequestID) == "" {
			t.Errorf("%.120s: headers %v", bad.body, r.header)
		}
	}
	if got := e.used(); got != 0 {
		t.Errorf("refused requests hold %d blocks", got)
	}
	if r := e.post(chatPath, hello+`}`); r.status != http.StatusOK {
		t.Errorf("a good request after the bad ones: %d %s", r.status, r.body)
	}
}

func TestWrongAddressMethodOrMediaTypeIsRefused(t *testing.T) {
	e := startEngine(t, testConfig(t))
	for _, c := range []struct {
		method, path, media string
		status              int
		code                string
	}{
		{"POST", "/v1/chat", "application/json", 404, "not_found"},
		{"GET", "/", "", 404, "not_found"},
		{"GET", chatPath, "", 405, "method_not_allowed"},
		{"PUT", completionPath, "application/json", 405, "method_not_allowed"},
		{"POST", "/v1/models", "application/json", 405, "method_not_allowed"},
		{"POST", api.PathState, "application/json", 405, "method_not_allowed"},
		{"POST", chatPath, "", 415, "unsupported_media_type"},
		{"POST", chatPath, "text/plain", 415, "unsupported_media_type"},
		{"POST", chatPath, "application/json; charset=latin1", 415, "unsupported_media_type"},
		{"POST", chatPath, "application/json; charset=UTF-8", 200, ""},
	} {
		r := e.call(c.method, c.path, hello+`}`, "Content-Type", c.media)
		if r.status != c.status {
			t.Errorf("%s %s %q: got %d, want %d", c.method, c.path, c.media, r.status, c.status)
		}
		if c.status != 200 && r.error(t).Error.Code != c.code {
			t.Errorf("%s %s %q: got %s", c.method, c.path, c.media, r.body)
		}
		if c.status == 405 && r.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow header", c.method, c.path)
		}
	}
	if r := e.post(chatPath, hello+`}`, "Content-Encoding", "gzip"); r.status != http.StatusUnsupportedMediaType {
		t.Errorf("gzip: %d", r.status)
	}
}

func TestUnknownModelIsNotFound(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post(chatPath, `{"model":"gpt-5","messages":[{"role":"user","content":"a"}]}`)
	if got := r.error(t).Error; r.status != http.StatusNotFound || got.Code != "model_not_found" || got.Param == nil || *got.Param != "model" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestTooLongContextIsRefusedWithItsNumbers(t *testing.T) {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{Context: 64})
	e := startEngine(t, cfg)
	long := strings.Repeat("x", 100)
	for body, want := range map[string]string{
		`{"model":"default","prompt":"` + long + `"}`:                      "the model's context length is 64 tokens, but the prompt has 100, and the answer needs one at least",
		`{"model":"default","prompt":"` + long[:60] + `","max_tokens":10}`: "the model's context length is 64 tokens, but 70 were asked for: 60 in the prompt and 10 in the answer",
	} {
		r := e.post(completionPath, body)
		if got := r.error(t).Error; r.status != 400 || got.Code != "context_length_exceeded" || got.Message != want {
			t.Errorf("got %d %s", r.status, r.body)
		}
	}
	r := e.post(completionPath, `{"model":"default","prompt":"`+long[:60]+`","temperature":0}`)
	if r.status != 200 || r.outcome(api.HeaderCompletionTokens) != "4" || r.outcome(api.HeaderFinish) != "length" {
		t.Errorf("without a bound of its own the answer does not end where the context does: %d %v", r.status, r.header)
	}
}

func TestTooLargeBodyIsRefused(t *testing.T) {
	e := startEngine(t, testConfig(t))
	r := e.post(completionPath, `{"model":"default","prompt":"`+strings.Repeat("x", maxBody)+`"}`)
	if r.status != http.StatusRequestEntityTooLarge || r.error(t).Error.Code != "request_too_large" {
		t.Errorf("%d %.200s", r.status, r.body)
	}
}

func TestWhatTheChatTemplateRefusesIsABadRequestInItsWords(t *testing.T) {
	cfg := testConfig(t)
	cfg.Model = enginetest.Model(t, enginetest.Shape{
		ChatTemplate: "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system messages, please') }}{% endif %}{{ messages[0]['content'] }}",
	})
	e := startEngine(t, cfg)
	r := e.post(chatPath, message(`"role":"system","content":"a"`))
	if got := r.error(t).Error; r.status != 400 || got.Code != "invalid_value" || *got.Param != "messages" || !strings.Contains(got.Message, "no system messages, please") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := e.post(chatPath, message(`"role":"user","content":"a"`)); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := e.post(chatPath, message(`"role":"user","content":""`)); r.status != 400 || *r.error(t).Error.Param != "messages" {
		t.Errorf("an empty prompt: %d %s", r.status, r.body)
	}
}

func TestClientThatLeavesInItsBodyIsLogged(t *testing.T) {
	e := startEngine(t, testConfig(t))
	conn, err := net.Dial("unix", e.cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"model\":", chatPath)
	conn.Close()
	e.until("it is logged", func() bool { return len(e.logLines("request")) == 1 })
	if line := e.logLines("request")[0]; line["finish"] != "client_gone" || line["status"] != 499.0 {
		t.Errorf("logged as %v", line)
	}
}

func TestFaultInAHandlerCostsOneRequestOnly(t *testing.T) {
	e := newTestEngine(t, testConfig(t))
	e.routes["/early"] = route{method: http.MethodGet, serve: func(*exchange) { panic("early") }}
	e.routes["/late"] = route{method: http.MethodGet, serve: func(x *exchange) { x.openStream(); x.write([]byte("a")); panic("late") }}
	e.start()
	e.waitReady()
	if r := e.call(http.MethodGet, "/early", ""); r.status != 500 || r.error(t).Error.Code != "internal_error" || r.header.Get(api.HeaderFinish) != "error" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r, err := e.do(e.request(t.Context(), http.MethodGet, "/late", "")); err == nil {
		t.Errorf("half an answer looks whole: %d %q", r.status, r.body)
	}
	if r := e.post(chatPath, hello+`}`); r.status != 200 {
		t.Errorf("after the faults: %d %s", r.status, r.body)
	}
	e.until("both are logged", func() bool { return len(e.logLines("a handler panicked")) == 2 })
}
