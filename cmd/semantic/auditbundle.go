package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"html/template"
	"os"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

var auditIndex = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Evidence of {{.When}}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
pre{background:#f3f3f3;padding:.5rem;margin:.2rem 0;overflow-x:auto;white-space:pre-wrap}code{font-family:ui-monospace,monospace;font-size:.9em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .8rem .4rem 0;vertical-align:top;border-bottom:1px solid #ddd}
.bad{color:#b00020;font-weight:600}.good{color:#0a6b2d;font-weight:600}a{color:#0b57d0}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}pre{background:#242424}td,th{border-color:#333}.bad{color:#ff8a80}.good{color:#7ddc9a}a{color:#8ab4f8}}
</style></head><body>
<h1>Evidence</h1>
<p>Collected at {{.When}} by semantic {{.Build.Version}}, commit {{.Build.Commit}}. {{.Proved}} of {{len .Items}} claims were proved.
Each file is what the command beside it printed. Run the commands in this folder, with the same binary, on the pod's host; a command that ends with status 0 proves its claim again.</p>
<table><tr><th>claim</th><th>evidence</th><th>command</th></tr>
{{range .Items}}<tr><td>{{.Claim}}{{if .Fault}} <span class="bad">Not proved: {{.Fault}}</span>{{else}} <span class="good">Proved.</span>{{end}}</td>
<td><a href="{{.File}}">{{.File}}</a></td><td><pre><code class="{{if .Fault}}failed{{else}}check{{end}}">{{.Command}}</code></pre></td></tr>
{{end}}<tr><td>The files of this folder are those that were collected. <span class="good">Proved.</span></td><td><a href="SHA256SUMS">SHA256SUMS</a></td>
<td><pre><code class="check">sha256sum --check --quiet SHA256SUMS</code></pre></td></tr>
</table></body></html>
`))

// writeBundle writes the evidence, its sums and its index as a tar file.
func writeBundle(path string, items []evidence, now time.Time) error {
	var sums strings.Builder
	proved := 0
	for _, e := range items {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(e.Content), e.File)
		if e.Fault == "" {
			proved++
		}
	}
	var index bytes.Buffer
	err := auditIndex.Execute(&index, map[string]any{
		"When": now.UTC().Format(time.RFC3339), "Build": telemetry.ReadBuild(), "Items": items, "Proved": proved,
	})
	if err != nil {
		return err
	}
	all := append([]evidence{{File: "index.html", Content: index.Bytes()}, {File: "SHA256SUMS", Content: []byte(sums.String())}}, items...)
	return writeWhole(path, func(f *os.File) error {
		t := tar.NewWriter(f)
		for _, e := range all {
			h := &tar.Header{Name: "evidence/" + e.File, Mode: 0o600, Size: int64(len(e.Content)), ModTime: now, Format: tar.FormatPAX}
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			if _, err := t.Write(e.Content); err != nil {
				return err
			}
		}
		return t.Close()
	})
}
