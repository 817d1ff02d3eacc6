package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/semantic-pod/semantic/config"
)

// Config is every setting of the proxy.
type Config struct {
	Host            string `name:"host" default:"127.0.0.1" help:"Address to listen on. One that is not loopback needs --allow-remote."`
	Port            int    `name:"port" default:"8000" help:"TCP port to listen on; 0 takes any free one."`
	AllowRemote     bool   `name:"allow-remote" help:"Let --host be an address that other machines reach; needs an API key."`
	NoAuth          bool   `name:"insecure-no-auth" help:"Serve other machines without asking for a key."`
	KeyFile         string `name:"key-file" placeholder:"FILE" help:"File of API keys; by default keys.yaml below --data-dir. Once it is there, requests need a key."`
	APIKeys         string `name:"api-keys" secret:"" placeholder:"KEYS" help:"API keys without limits, with commas between, each KEY or NAME:KEY. Better as the variable: every user of the host can read the command line."`
	AdminKey        string `name:"admin-key" secret:"" placeholder:"KEY" help:"A key for /admin/* alone, beside those of --key-file that were made with --admin. Better as the variable: every user of the host can read the command line."`
	AdminKeyFile    string `name:"admin-key-file" placeholder:"FILE" help:"File with a key for /admin/* alone, such as a mounted secret; read again when it changes."`
	LimitNoDelay    bool   `name:"limit-nodelay" help:"Let a key's burst through at once; without it, the requests of a burst wait for their turn."`
	TLSCertFile     string `name:"tls-cert-file" placeholder:"FILE" help:"Certificate chain (PEM) to speak HTTPS with; read again when it changes."`
	TLSKeyFile      string `name:"tls-key-file" placeholder:"FILE" help:"The certificate's key (PEM); read again when it changes."`
	TLSClientCAFile string `name:"tls-client-ca-file" placeholder:"FILE" help:"Certificates (PEM) of who signs clients' certificates: one of those is as good as a key, with its organization (O) for the tenant and its common name (CN) for the key's name. Read again when it changes."`

	JWTKeys        string `name:"jwt-keys" placeholder:"FILE|URL" help:"JSON Web Key Set, a file or an https:// URL: tokens signed by its keys are as good as an API key."`
	JWTIssuer      string `name:"jwt-issuer" help:"The iss that a token must have."`
	JWTAudience    string `name:"jwt-audience" help:"The aud that a token must have."`
	JWTTenantClaim string `name:"jwt-tenant-claim" default:"tenant" help:"The claim that names the tenant."`
	JWTLimitsClaim string `name:"jwt-limits-claim" default:"limits" help:"The claim with limits, an object with requests_per_second, burst, tokens_per_minute and max_concurrent; what it lacks is that of --issued-*."`

	IssuedRequestsPerSecond float64 `name:"issued-requests-per-second" placeholder:"N" help:"Limit of each token's subject or certificate's name; by default none."`
	IssuedBurst             int     `name:"issued-burst" placeholder:"N" help:"Requests above it that wait for their turn."`
	IssuedTokensPerMinute   int64   `name:"issued-tokens-per-minute" placeholder:"N" help:"Tokens a minute of each token's subject or certificate's name; by default no limit."`
	IssuedMaxConcurrent     int     `name:"issued-max-concurrent" placeholder:"N" help:"Requests at once of each token's subject or certificate's name; by default no limit."`

	LimitsStore string `name:"limits-store" secret:"" placeholder:"URL" help:"Redis or Valkey in which several proxies keep their keys' limits together, such as redis://:PASSWORD@HOST:6379/0. While it is away each proxy holds to the limits by itself."`

	AllowClients   string `name:"allow-clients" placeholder:"NETWORKS" help:"Addresses and networks, with commas between, that may send requests; by default all. Probes and metrics are for everybody."`
	DenyClients    string `name:"deny-clients" placeholder:"NETWORKS" help:"Addresses and networks, with commas between, that may not."`
	TrustedProxies string `name:"trusted-proxies" placeholder:"NETWORKS" help:"Addresses and networks of proxies in front, with commas between, whose X-Forwarded-For is believed."`
	CORSOrigins    string `name:"cors-origins" placeholder:"ORIGINS" help:"Origins of web pages, with commas between, whose scripts may call, or *; by default none."`
	MetricsListen  string `name:"metrics-listen" placeholder:"HOST:PORT" help:"Serve /metrics on this address and not on the main one."`

	Threads                  int         `name:"proxy-threads" default:"0" placeholder:"N" help:"Threads that the proxy runs on; 0 takes one for each four cores, and leaves the others to the engine."`
	MaxInFlight              int         `name:"max-in-flight" default:"1024" help:"Requests that may be with the engine at once; more get 503."`
	MaxConnections           int         `name:"max-connections" default:"16384" help:"Client connections that may be open at once; more get 503."`
	MaxConnectionsPerAddress int         `name:"max-connections-per-address" default:"8192" help:"Client connections that one address may have open at once, without those of --trusted-proxies; 0 is no limit."`
	MaxBody                  config.Size `name:"max-body" default:"10MiB" help:"Largest request body; more gets 413."`

	ReadHeaderTimeout time.Duration `name:"read-header-timeout" default:"10s" help:"Time to send the request line and headers."`
	ReadTimeout       time.Duration `name:"read-timeout" default:"60s" help:"Time to send the body, after the headers; more gets 408."`
	IdleTimeout       time.Duration `name:"idle-timeout" default:"75s" help:"Time that a kept-alive connection may wait for its next request."`
	WriteTimeout      time.Duration `name:"write-timeout" default:"30s" help:"Time that a client may leave an answer unread before it counts as gone."`
	RequestTimeout    time.Duration `name:"request-timeout" default:"10m" help:"Time for a whole request with the engine; more gets 504."`

	DrainDelay   time.Duration `name:"drain-delay" default:"2s" help:"Time between saying not ready and refusing connections, for load balancers to notice."`
	DrainQuiet   time.Duration `name:"drain-quiet" default:"6s" help:"Time for which nothing must have come on a kept connection before a drain closes it; no longer than --drain-timeout, and none with --drain-delay=0. More than clients keep an idle one (OpenAI's SDK for Python 5s, Node 4s), so that none sends into a connection that is being closed."`
	DrainTimeout time.Duration `name:"drain-timeout" default:"30s" help:"Time that running requests get to end when the proxy stops."`

	ReadyOnPressure bool          `name:"ready-on-pressure" default:"true" negatable:"" help:"Say not ready while the KV pool is nearly exhausted."`
	StallAfter      time.Duration `name:"stall-after" default:"10s" help:"Say not ready when work waits and the engine has made no step for this long."`

	EngineSocket     string `kong:"-"` // where the engine listens
	KeyFileOptional  bool   `kong:"-"` // --key-file is the default one, which need not be there
	DefaultMaxTokens int64  `kong:"-"` // the engine's, for requests that set no bound
	Socket           string `kong:"-"` // our own, for probes and the sidecar; "" for none
	Settings         string `kong:"-"` // as --print-config prints them, secrets masked: told on the socket
	Restarts         *int   `kong:"-"` // how often a supervisor started this process again; nil without one
	Unobserved       bool   `kong:"-"` // no request is counted, traced or logged: to measure what that costs
}

// quiet is --drain-quiet as it holds: who lets nobody notice the drain does not wait for
// clients either.
func (c *Config) quiet() time.Duration {
	if c.DrainDelay == 0 {
		return 0
	}
	return c.DrainQuiet
}

// Validate says which setting is wrong, and why.
func (c *Config) Validate() error {
	if c.EngineSocket == "" {
		return errors.New("the proxy needs the engine's socket: set --socket-dir")
	}
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("--port=%d is no TCP port: 0 to 65535", c.Port)
	}
	if err := c.validateHost(); err != nil {
		return err
	}
	if c.MetricsListen != "" {
		if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
			return fmt.Errorf("--metrics-listen=%s is no HOST:PORT: %w", c.MetricsListen, err)
		}
	}
	if c.AdminKey != "" && c.AdminKeyFile != "" {
		return errors.New("--admin-key and --admin-key-file are both given: keep one of the two")
	}
	if c.Threads < 0 {
		return fmt.Errorf("--proxy-threads=%d must not be negative", c.Threads)
	}
	if c.MaxBody < 1 || c.MaxBody > 1<<30 {
		return fmt.Errorf("--max-body=%s is out of range: 1 byte to 1GiB", c.MaxBody)
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"max-in-flight", c.MaxInFlight}, {"max-connections", c.MaxConnections}} {
		if n.value < 1 {
			return fmt.Errorf("--%s=%d must be at least 1", n.flag, n.value)
		}
	}
	if c.MaxConnectionsPerAddress < 0 {
		return fmt.Errorf("--max-connections-per-address=%d must be at least 0, which is no limit", c.MaxConnectionsPerAddress)
	}
	if err := errors.Join(c.validateTLS(), c.validateJWT()); err != nil {
		return err
	}
	if err := c.issuedLimits().Validate(); err != nil {
		return fmt.Errorf("--issued-*: %w", err)
	}
	if _, err := c.addresses(); err != nil {
		return err
	}
	if _, err := parseOrigins(c.CORSOrigins); err != nil {
		return err
	}
	return c.validateTimes()
}

func (c *Config) validateTimes() error {
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"read-header-timeout", c.ReadHeaderTimeout, time.Millisecond},
		{"read-timeout", c.ReadTimeout, time.Millisecond},
		{"idle-timeout", c.IdleTimeout, time.Millisecond},
		{"write-timeout", c.WriteTimeout, time.Millisecond},
		{"request-timeout", c.RequestTimeout, time.Millisecond},
		{"stall-after", c.StallAfter, time.Millisecond},
		{"drain-delay", c.DrainDelay, 0},
		{"drain-quiet", c.DrainQuiet, 0},
		{"drain-timeout", c.DrainTimeout, 0},
	} {
		if d.value < d.least {
			return fmt.Errorf("--%s=%s is too short: at least %s", d.flag, d.value, d.least)
		}
	}
	return nil
}

// validateHost keeps the door shut to other machines unless it was opened on
// purpose.
func (c *Config) validateHost() error {
	if isLoopback(c.Host) {
		return nil
	}
	if !c.AllowRemote {
		return fmt.Errorf("--host=%s can be reached from other machines: add --allow-remote if that is meant", c.Host)
	}
	if !c.NoAuth && c.KeyFile == "" && c.APIKeys == "" && !c.issues() {
		return c.errOpenDoor()
	}
	return nil
}

// issues reports whether others than the key file say who may come in.
func (c *Config) issues() bool { return c.TLSClientCAFile != "" || c.JWTKeys != "" }

func (c *Config) errOpenDoor() error {
	return fmt.Errorf("--allow-remote would let anyone who reaches --host=%s use the model: make a key with "+
		"`semantic keys create` (in --key-file=%s) or set SEMANTIC_API_KEYS, or add --insecure-no-auth if that is meant", c.Host, c.KeyFile)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
