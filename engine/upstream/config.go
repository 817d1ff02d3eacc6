package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config says where the upstreams are and how long they are waited for.
type Config struct {
	URLs    []string `name:"upstream-url" placeholder:"URL" help:"Servers that compute the answers with --backend upstream: http://HOST:PORT, https://HOST or unix:/PATH, each without /v1. Several are separated by commas and serve one model."`
	Model   string   `name:"upstream-model" placeholder:"NAME" help:"Name of the model as the upstreams know it; by default the first one that they list."`
	KeyFile string   `name:"upstream-key-file" placeholder:"FILE" help:"File with the API key that the upstreams ask for; it is sent as a bearer token."`

	HeaderTimeout  time.Duration `name:"upstream-header-timeout" default:"60s" help:"Time in which an upstream must begin to answer; after it the request goes to another one."`
	IdleTimeout    time.Duration `name:"upstream-idle-timeout" default:"60s" help:"Time that a begun answer may stand still; after it the answer counts as cut off."`
	HealthInterval time.Duration `name:"upstream-health-interval" default:"1s" help:"Time between two looks at an upstream's health and metrics."`
}

// Check says which setting is wrong. It is not called Validate, which the parser of the
// command line would call whatever the backend is.
func (c *Config) Check() error {
	var errs []error
	if len(c.URLs) == 0 {
		errs = append(errs, errors.New("--backend=upstream needs at least one --upstream-url"))
	}
	for i, address := range c.URLs {
		if _, _, err := parseURL(address); err != nil {
			errs = append(errs, err)
		}
		if slices.Contains(c.URLs[:i], address) {
			errs = append(errs, fmt.Errorf("--upstream-url=%s is given twice", address))
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"header-timeout", c.HeaderTimeout}, {"idle-timeout", c.IdleTimeout}, {"health-interval", c.HealthInterval}} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("--upstream-%s=%s must be above 0", d.flag, d.value))
		}
	}
	return errors.Join(errs...)
}

// parseURL returns the base of an upstream's routes, and its socket's path if it
// listens on one.
func parseURL(address string) (base, socket string, err error) {
	bad := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("--upstream-url=%s: %s", address, why)
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return bad("unix: must be followed by the absolute path of a socket")
		}
		return "http://upstream", path, nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return bad("it cannot be read: " + err.Error())
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("it must begin with http://, https:// or unix:")
	case u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return bad("it must be a scheme and a host, perhaps with a path")
	case u.User != nil:
		return bad("it must not hold a password; use --upstream-key-file")
	}
	base = strings.TrimSuffix(address, "/")
	if strings.HasSuffix(base, "/v1") {
		return bad("it must not end with /v1, which is added")
	}
	return base, "", nil
}
