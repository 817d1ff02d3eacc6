package sidecar

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/semantic-pod/semantic/config"
	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/objectstore"
	"github.com/semantic-pod/semantic/sidecar/otlplogs"
	"github.com/semantic-pod/semantic/telemetry"
)

// Config is what the sidecar is set to. The fields without a flag are shared with
// the other processes and filled in by the command line.
type Config struct {
	Listen         string        `name:"sidecar-listen" default:"127.0.0.1:8002" help:"TCP address of the sidecar's own health and metrics." placeholder:"HOST:PORT"`
	CheckInterval  time.Duration `name:"log-check-interval" default:"1s" help:"Time between two looks at the logs." placeholder:"DURATION"`
	RotateBytes    config.Size   `name:"log-rotate-bytes" default:"100MiB" help:"Size at which a log file is rotated, in bytes." placeholder:"SIZE"`
	RotateAge      Age           `name:"log-rotate-age" default:"0" help:"Age of its first line at which a log file is rotated, such as 36h or 1d; 0: none." placeholder:"AGE"`
	RotateSchedule string        `name:"log-rotate-schedule" help:"Times at which log files are rotated, in cron's syntax and UTC, such as '0 0 * * *' or @daily." placeholder:"CRON"`
	RotateOnStop   bool          `name:"log-rotate-on-stop" help:"Rotate, archive and ship the pod's last lines when the sidecar stops, its own among them: for volumes that end with the pod."`
	Keep           int           `name:"log-keep" default:"10" help:"Rotated files to keep of each log." placeholder:"COUNT"`
	MaxAge         Age           `name:"log-max-age" default:"0" help:"Age at which rotated files are removed, such as 30d; 0: none." placeholder:"AGE"`
	MaxBytes       config.Size   `name:"log-max-bytes" default:"0" help:"Bytes of all log files beyond which the oldest rotated ones are removed; 0: no bound." placeholder:"SIZE"`
	MinFree        config.Size   `name:"log-min-free" default:"64MiB" help:"Free bytes of the volume below which the oldest rotated files are removed; 0: none." placeholder:"SIZE"`
	RetainErrors   Age           `name:"retain-errors" default:"365d" help:"Age up to which error lines are kept, in files of their own; 0: they go with their files." placeholder:"AGE"`
	SignKey        string        `name:"log-sign-key" help:"PEM file of an Ed25519 private key that signs each entry of the logs' manifest." placeholder:"FILE"`

	ShipTo     string      `name:"ship-to" help:"Object store for archived logs, such as s3://bucket?region=eu-central-1 or file:///mnt/logs; they are removed here only when they are there, or the disk is full." placeholder:"URL"`
	ShipOTLP   string      `name:"ship-otlp" help:"OTLP receiver over HTTP for log lines as they come, such as http://localhost:4318; rotated logs are removed only when it has their lines, or the disk is full." placeholder:"URL"`
	ReleaseDir string      `name:"release-dir" help:"Folder of the signed release that the pod runs, whose SBOM and provenance are served; by default that of the executable." placeholder:"DIR"`
	ProxyURL   string      `name:"proxy-url" help:"Address of the pod's proxy, for runbooks and silences; by default where serve puts it." placeholder:"URL"`
	Ticket     string      `name:"console-ticket" secret:"" help:"Secret of a link to the console that is good once; serve makes one and prints the link." placeholder:"SECRET"`
	Rules      RulesConfig `embed:""`

	LogDir       string `kong:"-"` // --log-dir
	Socket       string `kong:"-"` // <socket-dir>/sidecar.sock; "" opens none
	ProxySocket  string `kong:"-"` // <socket-dir>/proxy.sock; "" asks none
	EngineSocket string `kong:"-"` // <socket-dir>/engine.sock; "" asks none
	Settings     string `kong:"-"` // as --print-config prints them, secrets masked: told on the socket
	Restarts     *int   `kong:"-"` // how often a supervisor started this process again; nil without one
}

// minCheckInterval keeps a mistaken setting from turning the checks into a busy loop.
const minCheckInterval = 10 * time.Millisecond

// Validate says which setting is wrong.
func (c *Config) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("--sidecar-listen=%s is no address: %w", c.Listen, err))
	}
	// A writer stops at its own cap, so that a size near it would never be reached.
	if limit := config.Size(telemetry.DefaultMaxBytes / 2); c.RotateBytes < 1 || c.RotateBytes > limit {
		errs = append(errs, fmt.Errorf("--log-rotate-bytes=%s must be from 1 to %s", c.RotateBytes, limit))
	}
	if c.Keep < 1 {
		errs = append(errs, fmt.Errorf("--log-keep=%d must be at least 1", c.Keep))
	}
	if c.CheckInterval < minCheckInterval {
		errs = append(errs, fmt.Errorf("--log-check-interval=%s must be at least %s", c.CheckInterval, minCheckInterval))
	}
	if c.LogDir == "" {
		errs = append(errs, errors.New("--log-dir is not set: the sidecar looks after the logs in it"))
	}
	if _, err := c.schedule(); err != nil {
		errs = append(errs, err)
	}
	if c.MaxBytes > 0 && c.MaxBytes < c.RotateBytes {
		errs = append(errs, fmt.Errorf("--log-max-bytes=%s is less than --log-rotate-bytes=%s: every file would be removed as soon as it is rotated", c.MaxBytes, c.RotateBytes))
	}
	if c.RetainErrors > 0 && c.MaxAge > c.RetainErrors {
		errs = append(errs, fmt.Errorf("--retain-errors=%s is less than --log-max-age=%s: error lines are kept at least as long as others", c.RetainErrors, c.MaxAge))
	}
	if c.SignKey != "" {
		if _, err := logchain.ReadPrivateKey(c.SignKey); err != nil {
			errs = append(errs, fmt.Errorf("cannot sign the manifest: --log-sign-key=%s: %w", c.SignKey, err))
		}
	}
	if c.ShipTo != "" {
		if err := objectstore.Check("--ship-to", c.ShipTo); err != nil {
			errs = append(errs, err)
		}
	}
	if c.ShipOTLP != "" {
		if err := otlplogs.Check(c.ShipOTLP); err != nil {
			errs = append(errs, fmt.Errorf("--ship-otlp=%s: %w", c.ShipOTLP, err))
		}
	}
	if c.ProxyURL != "" && !isWebAddress(c.ProxyURL) {
		errs = append(errs, fmt.Errorf("--proxy-url=%s is no address such as http://127.0.0.1:8000", c.ProxyURL))
	}
	errs = append(errs, c.Rules.Validate())
	return errors.Join(errs...)
}

// schedule reads --log-rotate-schedule; nil if there is none.
func (c *Config) schedule() (cron.Schedule, error) {
	if c.RotateSchedule == "" {
		return nil, nil
	}
	s, err := cron.ParseStandard(c.RotateSchedule)
	if err != nil {
		return nil, fmt.Errorf("--log-rotate-schedule=%q is no schedule: %w", c.RotateSchedule, err)
	}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("--log-rotate-schedule=%q names a time that never comes", c.RotateSchedule)
	}
	return s, nil
}
