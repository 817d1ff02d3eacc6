package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type testCommands struct {
	Proxy struct {
		Config string        `name:"config" help:"File."`
		Port   int           `name:"port" default:"8000" help:"Port."`
		Alias  []string      `name:"alias" help:"Aliases."`
		Body   Size          `name:"max-body" default:"10MiB" help:"Limit."`
		Wait   time.Duration `name:"wait" default:"30s" help:"Wait."`
		Level  string        `name:"level" enum:"low,high" default:"low" help:"Level."`
		Token  string        `name:"token" secret:"" help:"Secret."`
	} `cmd:""`
	Engine struct {
		Config  string `name:"config" help:"File."`
		Threads int    `name:"threads" help:"Threads."`
		Once    string `name:"once" env:"-" help:"Once."`
	} `cmd:""`
}

func parse(t *testing.T, args ...string) (*testCommands, *Parsed, error) {
	t.Helper()
	var c testCommands
	p, err := Parse(App{
		Name: "semantic", Commands: &c, Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{},
		Exit: func(code int) { t.Fatalf("exit %d", code) },
	}, args)
	return &c, p, err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "semantic.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	path := writeFile(t, "port: 1\nwait: 1s\nmax-body: 1KiB\nthreads: 3\nalias: [a, 'b,c']\n")
	t.Setenv("SEMANTIC_PORT", "2")
	t.Setenv("SEMANTIC_WAIT", "2s")
	c, p, err := parse(t, "proxy", "--config", path, "--port", "3")
	if err != nil {
		t.Fatal(err)
	}
	got := c.Proxy
	if got.Port != 3 || got.Wait != 2*time.Second || got.Body != 1024 || len(got.Alias) != 2 || got.Alias[1] != "b,c" {
		t.Errorf("got %+v", got)
	}
	sources := map[string]string{}
	for _, s := range p.Settings() {
		sources[s.Name] = s.Source
	}
	want := map[string]string{
		"config": "flag", "port": "flag", "wait": "environment SEMANTIC_WAIT",
		"max-body": path + ":3", "alias": path + ":5", "token": "default",
	}
	for name, source := range want {
		if sources[name] != source {
			t.Errorf("source of %s is %q, want %q", name, sources[name], source)
		}
	}
}

func TestFileNamedByEnvironment(t *testing.T) {
	t.Setenv("SEMANTIC_CONFIG", writeFile(t, "port: 77\n"))
	c, _, err := parse(t, "proxy")
	if err != nil || c.Proxy.Port != 77 {
		t.Errorf("port %d, error %v", c.Proxy.Port, err)
	}
}

func TestEveryBadSettingIsAnErrorThatNamesItsPlace(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"unknown key":      {"port: 1\nprot: 2\n", `:2: unknown key "prot"; did you mean port?`},
		"bad value":        {"\nport: many\n", `:2: key "port": expected`},
		"bad size":         {"max-body: 1 XB\n", `:1: key "max-body": "1 XB" is no size`},
		"double":           {"port: 1\nwait: 1s\nport: 2\n", `:3: key "port" was set on line 1 before`},
		"list for one":     {"port: [1, 2]\n", `:1: key "port": expected one value`},
		"no value":         {"port:\n", `:1: key "port": has no value`},
		"not of the set":   {"port: 1\nlevel: middling\n", `:2: key "level": "middling" must be one of low, high`},
		"nested":           {"proxy:\n  port: 1\n", `:1: unknown key "proxy"`},
		"no mapping":       {"- port\n", `:1: expected keys with values`},
		"no YAML":          {"port: [\n", `line`},
		"other command's":  {"threads: x\n", `:1: key "threads": expected`},
		"no setting":       {"once: x\n", `:1: unknown key "once"`},
		"config in itself": {"config: x\n", `:1: unknown key "config"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, test.yaml)
			_, _, err := parse(t, "proxy", "--config", path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want it to hold %q and %q", err, path, test.want)
			}
		})
	}
}

func TestMissingFileAndBadEnvironmentAreErrors(t *testing.T) {
	if _, _, err := parse(t, "proxy", "--config", "/nowhere.yaml"); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("missing file: %v", err)
	}
	t.Setenv("SEMANTIC_PROT", "1")
	if _, _, err := parse(t, "proxy"); err == nil || !strings.Contains(err.Error(), "SEMANTIC_PROT") || !strings.Contains(err.Error(), "SEMANTIC_PORT") {
		t.Errorf("unknown variable: %v", err)
	}
}

func TestKubernetesServiceLinksAreNotSettings(t *testing.T) {
	t.Setenv("SEMANTIC_SERVICE_HOST", "10.0.0.1")
	t.Setenv("SEMANTIC_PORT_8000_TCP", "tcp://10.0.0.1:8000")
	if _, _, err := parse(t, "proxy"); err != nil {
		t.Error(err)
	}
}

func TestPrintedSettingsAreAFileThatGivesTheSameSettings(t *testing.T) {
	_, p, err := parse(t, "proxy", "--alias", "a", "--alias", "b", "--token", "hush", "--wait", "1m5s")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Print(&out, p.Settings()); err != nil {
		t.Fatal(err)
	}
	want := "port: 8000 # default\nalias: a,b # flag\nmax-body: 10MiB # default\nwait: 1m5s # flag\nlevel: low # default\ntoken: '********' # flag\n"
	if got := out.String(); strings.ReplaceAll(got, `"`, "'") != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c, _, err := parse(t, "proxy", "--config", writeFile(t, out.String()))
	if err != nil || c.Proxy.Wait != 65*time.Second || len(c.Proxy.Alias) != 2 {
		t.Errorf("read back %+v, error %v", c.Proxy, err)
	}
}

func TestAChildSeesTheSameSettingsAndNoOthers(t *testing.T) {
	_, p, err := parse(t, "proxy", "--port", "9", "--alias", "a,b")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(Environ([]string{"HOME=/h", "SEMANTIC_WAIT=9s", "SEMANTIC_PORT=1"}, p.Settings()), " ")
	if want := "HOME=/h SEMANTIC_PORT=9 SEMANTIC_ALIAS=a,b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "17": 17, "1KiB": 1024, "1.5GiB": 3 << 29, "2 MB": 2e6, "3TiB": 3 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, error %v, want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "-1", "MiB", "1 parsec", "1e30GiB", "NaN"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken as %d", text, s)
		}
	}
	for size, want := range map[Size]string{0: "0", 1000: "1000", 10 << 20: "10MiB", 1536 << 20: "1536MiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(size), got, want)
		}
	}
}
