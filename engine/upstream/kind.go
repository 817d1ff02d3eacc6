package upstream

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Kind is what an upstream is, which decides what it can be asked for.
type Kind int

// The kinds of upstreams.
const (
	Other    Kind = iota // OpenAI's API and no more
	VLLM                 // vLLM
	LlamaCPP             // llama.cpp's server
	Semantic             // another pod of ours
)

func (k Kind) String() string { return [...]string{"other", "vllm", "llama.cpp", "semantic"}[k] }

// speaksAnthropic says whether Anthropic's requests can be passed on as they are.
func (k Kind) speaksAnthropic() bool { return k == LlamaCPP || k == Semantic }

// models is the answer to GET /v1/models.
type models struct {
	Data []struct {
		ID      string `json:"id"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	} `json:"data"`
}

// identify asks an upstream what it is and which model it serves.
func (f *Fleet) identify(ctx context.Context, s *server) (Kind, string, time.Time, error) {
	body, err := f.get(ctx, s, "/v1/models")
	if err != nil {
		return Other, "", time.Time{}, err
	}
	var list models
	if err := json.Unmarshal(body, &list); err != nil || len(list.Data) == 0 {
		return Other, "", time.Time{}, fmt.Errorf("GET /v1/models lists no model: %.80q", body)
	}
	for _, m := range list.Data {
		if m.ID == "" || f.cfg.Model != "" && m.ID != f.cfg.Model {
			continue
		}
		kind := Other
		switch m.OwnedBy {
		case "vllm":
			kind = VLLM
		case "llamacpp":
			kind = LlamaCPP
		case "semantic":
			kind = Semantic
		}
		return kind, m.ID, time.Unix(m.Created, 0), nil
	}
	return Other, "", time.Time{}, fmt.Errorf("it lists no model %q (--upstream-model)", f.cfg.Model)
}
