package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/semantic-pod/semantic/cmd/semantic/chat"
)

// chatCmd talks with a pod.
type chatCmd struct {
	URL       string        `name:"url" default:"http://127.0.0.1:8000" placeholder:"URL" env:"-" help:"Address of the proxy."`
	Key       string        `name:"key" env:"SEMANTIC_CHAT_KEY" placeholder:"KEY" help:"API key; better given as SEMANTIC_CHAT_KEY, since other users of the host see the command line."`
	Agent     string        `name:"agent" env:"-" placeholder:"NAME" help:"Name under which the pod keeps the conversation's memory; /agent changes it."`
	ModelName string        `name:"ask" default:"default" env:"-" placeholder:"NAME" help:"Model to ask for."`
	MaxTokens int           `name:"max-tokens" default:"512" env:"-" placeholder:"N" help:"Most tokens of an answer."`
	Timeout   time.Duration `name:"timeout" default:"10m" env:"-" help:"Most time that an answer may take."`
}

func (c *chatCmd) Run(w *world) error {
	cfg := chat.Config{URL: c.URL, Key: c.Key, Agent: c.Agent, Model: c.ModelName, MaxTokens: c.MaxTokens, Timeout: c.Timeout}
	if err := cfg.Validate(); err != nil {
		return usage(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		return chat.Run(ctx, cfg, os.Stdin, os.Stdout)
	}
	return chat.Pipe(ctx, cfg, os.Stdin, w.stdout)
}
