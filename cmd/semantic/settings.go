package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/engine"
	"github.com/semantic-pod/semantic/engine/builtin"
	"github.com/semantic-pod/semantic/telemetry"
)

// shared holds the settings that every process of the pod has.
type shared struct {
	Config      string `name:"config" placeholder:"FILE" help:"YAML file of settings; its keys are the names of the flags, of all commands."`
	PrintConfig bool   `name:"print-config" help:"Print every effective setting with its source, and exit."`

	DataDir   string `name:"data-dir" default:"${data_dir}" placeholder:"DIR" help:"Folder for state, made with mode 0700."`
	LogDir    string `name:"log-dir" placeholder:"DIR" help:"Folder for logs, made with mode 0700; by default logs below --data-dir."`
	SocketDir string `name:"socket-dir" placeholder:"DIR" help:"Folder for the Unix sockets; by default run below --data-dir."`

	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"info" help:"Least level of log lines: debug, info, warn or error."`
	LogFormat string `name:"log-format" enum:"auto,json,console" default:"auto" help:"Form of what goes to stderr: json, console, or auto (console on a terminal). Files hold JSON."`

	StopTimeout time.Duration `name:"stop-timeout" default:"45s" help:"Time to stop in; --drain-delay, --drain-timeout and --persist-timeout must fit in it together."`
}

// defaultDataDir follows the XDG base directory specification.
func defaultDataDir() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "semantic")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("semantic-%d", os.Getuid()))
	}
	return filepath.Join(home, ".local", "share", "semantic")
}

// complete fills in what follows from other settings.
func (s *shared) complete() error {
	for _, dir := range []struct {
		path  *string
		below string
	}{{&s.DataDir, ""}, {&s.LogDir, "logs"}, {&s.SocketDir, "run"}} {
		if *dir.path == "" {
			*dir.path = filepath.Join(s.DataDir, dir.below)
		}
		abs, err := filepath.Abs(*dir.path)
		if err != nil {
			return usage(err)
		}
		*dir.path = abs
	}
	if s.StopTimeout <= 0 {
		return usage(fmt.Errorf("--stop-timeout=%v must be above 0", s.StopTimeout))
	}
	return nil
}

func (s *shared) socket(process string) string {
	return filepath.Join(s.SocketDir, process+".sock")
}

// makeFolders creates the folders of the pod.
func (s *shared) makeFolders() error {
	for _, dir := range []struct{ flag, path string }{
		{"data-dir", s.DataDir}, {"log-dir", s.LogDir}, {"socket-dir", s.SocketDir},
	} {
		if err := os.MkdirAll(dir.path, 0o700); err != nil {
			return usage(fmt.Errorf("cannot make --%s: %w", dir.flag, err))
		}
	}
	return nil
}

func (s *shared) openLog(process string, w *world) (*telemetry.Log, error) {
	return telemetry.OpenLog(telemetry.LogConfig{
		Process: process, Dir: s.LogDir, Level: s.LogLevel, Format: s.LogFormat, Stderr: w.stderr,
	})
}

// printConfig prints the settings if it was asked for, and says whether it was.
func (s *shared) printConfig(w *world) (bool, error) {
	if !s.PrintConfig {
		return false, nil
	}
	return true, config.Print(w.stdout, w.parsed.Settings())
}

// toldSettings are the settings as the process tells them on its socket.
func toldSettings(w *world) (string, error) {
	var text strings.Builder
	err := config.Print(&text, w.parsed.Settings())
	return text.String(), err
}

// checkBudgets holds the parts of an orderly stop against the whole.
func (s *shared) checkBudgets(drainDelay, drainTimeout, persist time.Duration) error {
	if sum := drainDelay + drainTimeout + persist; sum > s.StopTimeout {
		return usage(fmt.Errorf("--stop-timeout=%v is too short: --drain-delay=%v, --drain-timeout=%v and --persist-timeout=%v take %v together",
			s.StopTimeout, drainDelay, drainTimeout, persist, sum))
	}
	return nil
}

// defaultModelFile is what "make model" leaves below models/.
const defaultModelFile = "smollm2-135m-instruct-q4_1.gguf"

// findModel returns the model's path: --model if it was given, else the default
// model where "make model" or a package may have left it, else the built-in one.
func (s *shared) findModel(model string) (string, error) {
	if model == builtin.Name {
		return model, nil
	}
	if model != "" {
		if _, err := os.Stat(model); err != nil {
			return "", usage(fmt.Errorf("cannot read --model: %w; %s", err, engine.ThreeWays))
		}
		return filepath.Abs(model)
	}
	for _, dir := range modelPlaces(s.DataDir) {
		path := filepath.Join(dir, defaultModelFile)
		_, err := os.Stat(path)
		switch {
		case err == nil:
			return filepath.Abs(path)
		case !errors.Is(err, fs.ErrNotExist):
			return "", usage(fmt.Errorf("cannot read the default model: %w", err))
		}
	}
	return builtin.Name, nil
}

// modelPlaces are the folders in which models are looked for.
func modelPlaces(dataDir string) []string {
	places := []string{"models"}
	if exe, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(exe), "..", "models"))
	}
	return append(places, filepath.Join(dataDir, "models"))
}
