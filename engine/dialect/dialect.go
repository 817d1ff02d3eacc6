// Package dialect holds what the vendors' APIs have in common: the request that
// every dialect turns a body into, the end that it turns into an answer, strict
// reading of JSON values that blames the field, and cheap writing of JSON strings.
//
// Read: dialect, tools, value, object, write.
package dialect

import "github.com/semantic-pod/semantic/api"

// Request is a generation that a client asked for, whatever API it speaks.
type Request struct {
	Dialect  api.Dialect
	Model    string    // as the client named it
	Messages []Message // of a chat; nil with a plain prompt
	Prompt   string    // a plain prompt
	Tokens   []int32   // a plain prompt given as token ids

	Temperature float64 // 0 is greedy
	TopP        float64 // 1 is off
	MinP        float64 // 0 is off
	TopK        int     // 0 is off
	Seed        uint64  // the client's, or a random one

	PresencePenalty  float64 // OpenAI's; 0 is off
	FrequencyPenalty float64
	LogitBias        map[int32]float32 // added to a token's logit

	Format Format

	Tools   []Tool // that the answer may call
	ToolUse ToolUse

	N           int  // answers asked for; 0 is one
	Logprobs    bool // tell the tokens' log-probabilities
	TopLogprobs int  // and those of so many of the likeliest

	Stop           []string
	MaxTokens      int    // 0 when the client gave none
	MaxTokensParam string // the field to blame when MaxTokens cannot be

	Stream       bool
	IncludeUsage bool // the stream ends with a chunk of counts
}

// Format is what an answer must look like.
type Format struct {
	JSON   bool   // a JSON value
	Schema *Value // that this JSON schema allows; nil for any object
}

// Message is one turn of a chat.
type Message struct {
	Role, Content string

	Calls  []Call // that the assistant made
	CallID string // of a tool's result: the call that it answers
	Tool   string // of a tool's result: the tool that was called
}

// Usage counts a request's tokens.
type Usage struct{ Prompt, Cached, Completion int }

// Part is a piece of an answer that is still being made.
type Part struct {
	Text   string
	Tokens []Token     // of the text, if the request asks for log-probabilities
	Calls  []CallDelta // that follow the text
}

// Empty says whether there is nothing in it.
func (p Part) Empty() bool { return p.Text == "" && len(p.Tokens) == 0 && len(p.Calls) == 0 }

// Token is a token of an answer and the natural logarithm of its probability.
type Token struct {
	Bytes   []byte
	Logprob float64
	Top     []Token // the likeliest in its place, itself or others
}

// Choice is one whole answer. A request may ask for several.
type Choice struct {
	Part
	Ending
}

// Ending is how an answer ended well.
type Ending struct {
	Finish api.Finish
	Stop   string // the stop string that ended it, if one did
	Usage  Usage  // of this answer
}
