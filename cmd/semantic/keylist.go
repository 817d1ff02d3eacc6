package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/semantic-pod/semantic/proxy/keys"
)

type keysListCmd struct {
	File   keyFile `embed:""`
	Output string  `name:"output" short:"o" enum:"table,json" default:"table" env:"-" help:"Form of the list: table or json."`
}

func (c *keysListCmd) Run(w *world) error {
	path, err := c.File.path()
	if err != nil {
		return err
	}
	entries, err := keys.Read(path)
	if errors.Is(err, fs.ErrNotExist) && c.File.KeyFile == "" {
		fmt.Fprintf(w.stderr, "semantic: there are no keys yet: %s is not there; `semantic keys create` makes it\n", path)
	} else if err != nil {
		return keyError(err)
	}
	now := time.Now()
	rows := make([]keyRow, len(entries))
	for i := range entries {
		rows[i] = rowOf(&entries[i], now)
	}
	if c.Output == "json" {
		out := json.NewEncoder(w.stdout)
		out.SetIndent("", "  ")
		return out.Encode(rows)
	}
	return printKeys(w.stdout, rows)
}

// keyRow is one key in a list.
type keyRow struct {
	Name              string    `json:"name"`
	Tenant            string    `json:"tenant"`
	State             string    `json:"state"`
	Fingerprint       string    `json:"fingerprint"` // the start of its SHA-256
	RequestsPerSecond float64   `json:"requests_per_second,omitzero"`
	Burst             int       `json:"burst,omitzero"`
	TokensPerMinute   int64     `json:"tokens_per_minute,omitzero"`
	MaxConcurrent     int       `json:"max_concurrent,omitzero"`
	Admin             bool      `json:"admin"`
	Created           time.Time `json:"created,omitzero"`
	Expires           time.Time `json:"expires,omitzero"`
	Revoked           time.Time `json:"revoked,omitzero"`
	OverlapUntil      time.Time `json:"overlap_until,omitzero"` // a replaced key is good until then
}

func rowOf(e *keys.Entry, now time.Time) keyRow {
	return keyRow{
		Name: e.Name, Tenant: e.Tenant, State: e.State(now), Fingerprint: e.Digest.Fingerprint(),
		RequestsPerSecond: e.Limits.RequestsPerSecond, Burst: e.Limits.Burst,
		TokensPerMinute: e.Limits.TokensPerMinute, MaxConcurrent: e.Limits.MaxConcurrent,
		Admin: e.Admin, Created: e.Created, Expires: e.Expires, Revoked: e.Revoked, OverlapUntil: e.Overlap(now),
	}
}

func printKeys(out io.Writer, rows []keyRow) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tTENANT\tSTATE\tREQUESTS/S\tBURST\tTOKENS/MIN\tAT ONCE\tADMIN\tCREATED\tEXPIRES\tREVOKED\tOVERLAP UNTIL")
	for _, r := range rows {
		cells := []string{
			r.Name, r.Tenant, r.State,
			number(r.RequestsPerSecond), number(float64(r.Burst)), number(float64(r.TokensPerMinute)), number(float64(r.MaxConcurrent)),
			map[bool]string{true: "yes", false: "no"}[r.Admin],
			instant(r.Created), instant(r.Expires), instant(r.Revoked), instant(r.OverlapUntil),
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// number is a limit in a table; none is a dash.
func number(v float64) string {
	if v == 0 {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
