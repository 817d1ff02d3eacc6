package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/semantic-pod/semantic/api"
)

// answerText is a chat's answer of common size.
const answerText = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"The capital of Italy is Rome."},"finish_reason":"stop"}],"usage":{"prompt_tokens":14,"completion_tokens":8,"total_tokens":22}}`

// standForEngine answers on the socket as the engine does, at once, so that the
// proxies are all that costs. It is not measured.
func standForEngine(socket string) (stop func() error, err error) {
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	state, err := json.Marshal(api.EngineState{Boot: "bench", Phase: api.PhaseReady, Model: "bench"})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathState, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(state) })
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		for name, value := range map[string]string{
			"Content-Type": "application/json", api.HeaderFinish: string(api.FinishStop),
			api.HeaderPromptTokens: "14", api.HeaderCachedTokens: "0", api.HeaderCompletionTokens: "8",
			api.HeaderTTFT: "0.010", api.HeaderQueueTime: "0.001", api.HeaderPrefillTime: "0.009", api.HeaderDecodeTime: "0.005",
		} {
			h.Set(name, value)
		}
		_, _ = io.WriteString(w, answerText)
	})
	return serve(ln, mux)
}

// standForCollector takes spans and metrics and keeps nothing.
func standForCollector() (url string, stop func() error, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	stop, err = serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	return "http://" + ln.Addr().String(), stop, err
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func serve(ln net.Listener, h http.Handler) (stop func() error, err error) {
	server := &http.Server{Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	return func() error {
		err := server.Close()
		return errors.Join(err, ignoreClosed(<-ended))
	}, nil
}
