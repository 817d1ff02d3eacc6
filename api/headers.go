package api

// Headers that only the proxy sets on a request to the engine. It always
// overwrites them, so that none is believed from outside.
const (
	HeaderTenant    = "Semantic-Tenant"          // the tenant's name; "default" without keys
	HeaderKey       = "Semantic-Key"             // the key's name, never the key
	HeaderAgent     = "Semantic-Agent"           // opaque agent name; absent without one
	HeaderDeadline  = "Semantic-Deadline"        // milliseconds that are left, an integer
	HeaderAllowance = "Semantic-Token-Allowance" // tokens that the key may still spend
)

// Headers of both sides.
const (
	HeaderRequestID    = "X-Request-ID"
	HeaderResponseTime = "X-Response-Time"
	HeaderTraceparent  = "traceparent"
)

// HeaderAgentConflict is on an answer beside which another turn of the same agent ran:
// of the two, the one that ends last is kept. It is the one header of this prefix that
// reaches the client.
const HeaderAgentConflict = "Semantic-Agent-Conflict"

// Headers that the engine sends to the proxy: on a JSON answer as headers, after
// a stream as HTTP trailers of the same names. None of them reaches the client.
// Times are decimal milliseconds ("12.345"), counts are integers.
const (
	HeaderFinish           = "Semantic-Finish"
	HeaderPromptTokens     = "Semantic-Prompt-Tokens"
	HeaderCachedTokens     = "Semantic-Cached-Tokens"
	HeaderCompletionTokens = "Semantic-Completion-Tokens"
	HeaderTTFT             = "Semantic-TTFT"         // arrival at the engine to the first token
	HeaderQueueTime        = "Semantic-Queue-Time"   // arrival to the first prefill step
	HeaderPrefillTime      = "Semantic-Prefill-Time" // first prefill step to the first token
	HeaderDecodeTime       = "Semantic-Decode-Time"  // first token to the last
)

// Outcome lists the headers by which the engine tells the proxy how a request ended.
var Outcome = []string{
	HeaderFinish, HeaderPromptTokens, HeaderCachedTokens, HeaderCompletionTokens,
	HeaderTTFT, HeaderQueueTime, HeaderPrefillTime, HeaderDecodeTime,
}
