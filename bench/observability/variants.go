package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	served "github.com/semantic-pod/semantic/proxy"
	"github.com/semantic-pod/semantic/telemetry"
)

// variant is a proxy that tells something.
type variant struct {
	name    string
	silent  bool    // it counts nothing
	log     bool    // it writes its access log
	sampled float64 // of the requests that are traced; below 0 none
}

// off is what the others are held against.
const off = "off"

var variants = []variant{
	{name: off, silent: true, sampled: -1},
	{name: "metrics", sampled: -1},
	{name: "metrics, log", log: true, sampled: -1},
	{name: "metrics, log, 1 % traced", log: true, sampled: 0.01},
	{name: "metrics, log, 100 % traced", log: true, sampled: 1},
}

func variantOf(name string) (variant, error) {
	for _, v := range variants {
		if v.name == name {
			return v, nil
		}
	}
	return variant{}, fmt.Errorf("there is no variant %q", name)
}

// environ makes a process send its spans as the variant has it.
func (v *variant) environ(collector string) []string {
	if v.sampled < 0 {
		return nil
	}
	return []string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + collector + "/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
		"OTEL_TRACES_SAMPLER=traceidratio", fmt.Sprintf("OTEL_TRACES_SAMPLER_ARG=%g", v.sampled), "OTEL_BSP_MAX_QUEUE_SIZE=65536", "OTEL_BSP_SCHEDULE_DELAY=100",
	}
}

func (v *variant) level() string {
	if v.log {
		return "info"
	}
	return "error"
}

// runChild is the proxy of a variant, until SIGTERM. It is the proxy as the pod runs
// it, in a process of its own.
func runChild(p plan) error {
	v, err := variantOf(p.child)
	if err != nil {
		return err
	}
	log, err := telemetry.OpenLog(telemetry.LogConfig{Process: "proxy", Dir: filepath.Join(p.dir, "logs"), Level: v.level(), Stderr: os.Stderr})
	if err != nil {
		return err
	}
	cfg := served.Config{
		Host: "127.0.0.1", MaxInFlight: 1024, MaxConnections: 1024, MaxBody: 1 << 20,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute,
		RequestTimeout: time.Minute, StallAfter: 10 * time.Second, DrainTimeout: time.Second, ReadyOnPressure: true,
		EngineSocket: filepath.Join(filepath.Dir(p.dir), "engine.sock"), APIKeys: "bench:" + benchKey, DefaultMaxTokens: 16,
		KeyFile: filepath.Join(p.dir, "keys.yaml"), KeyFileOptional: true, Unobserved: v.silent,
	}
	cfg.Tune()
	server, err := served.New(cfg, log)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "address"), []byte(server.Addr().String()), 0o600); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(server.Stop(end), log.Close())
}

const benchKey = "the-benchmark's-key-0123456789abcdef"
