package sidecar

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/alerts"
	"github.com/semantic-pod/semantic/runbooks"
)

// runbook serves the pages of the version that runs.
type runbook struct {
	groups   func() ([]alerts.Group, error)
	places   func() runbooks.Places
	values   func(ctx context.Context, names []string) ([]string, error)
	log      *zap.Logger
	markdown goldmark.Markdown
}

func newRunbook(s *Sidecar) *runbook {
	return &runbook{
		groups: func() ([]alerts.Group, error) { return s.cfg.Rules.Groups(s.address()) },
		places: s.places, values: s.liveValues, log: s.log.Zap(),
		markdown: goldmark.New(goldmark.WithExtensions(extension.Table)),
	}
}

const layout = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
pre{background:#f3f3f3;padding:.7rem;overflow-x:auto}code{font-family:ui-monospace,monospace;font-size:.92em}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
.critical{color:#b00020;font-weight:600}.warning{color:#8a5a00;font-weight:600}a{color:#0b57d0}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}pre{background:#242424}.critical{color:#ff8a80}.warning{color:#ffca6a}a{color:#8ab4f8}}
</style></head><body>
`

var indexPage = template.Must(template.New("index").Parse(layout + `<h1>{{.Title}}</h1>
<table><tr><th>alert</th><th>severity</th><th>what it says</th></tr>
{{range .Alerts}}<tr><td><a href="{{.Alert}}">{{.Alert}}</a></td><td class="{{.Labels.severity}}">{{.Labels.severity}}</td><td>{{.Annotations.runbook_summary}}</td></tr>
{{end}}</table></body></html>
`))

var alertPage = template.Must(template.New("alert").Parse(layout + `<p><a href="./">all runbooks</a> · <span class="{{.Rule.Labels.severity}}">{{.Rule.Labels.severity}}</span> · {{.Rule.Labels.component}}</p>
{{.Body}}
<h2>The rule</h2>
<pre><code>{{.Rule.Expr}}{{if .Rule.For}}
for: {{.Rule.For}}{{end}}</code></pre>
<h2>Values of this pod now</h2>
{{if .Fault}}<p>Not all could be read: {{.Fault}}</p>{{end}}
<pre><code>{{range .Values}}{{.}}
{{else}}none
{{end}}</code></pre></body></html>
`))

// alertRules returns the alerts with this deployment's values, and what each recorded
// series is made of.
func (b *runbook) alertRules() (rules []alerts.Rule, recorded map[string]string, err error) {
	groups, err := b.groups()
	if err != nil {
		return nil, nil, err
	}
	recorded = map[string]string{}
	for _, g := range groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				recorded[r.Record] = r.Expr
				continue
			}
			rules = append(rules, r)
		}
	}
	return rules, recorded, nil
}

// index lists the pages.
func (b *runbook) index(w http.ResponseWriter, _ *http.Request) {
	rules, _, err := b.alertRules()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b.send(w, indexPage, struct {
		Title  string
		Alerts []alerts.Rule
	}{"Runbooks", rules})
}

// page renders the runbook of an alert, or sends its source to who asks for .md.
func (b *runbook) page(w http.ResponseWriter, r *http.Request) {
	name, source := strings.CutSuffix(r.PathValue("alert"), ".md")
	text, err := runbooks.Markdown(name, b.places())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, err.Error()+"; see /runbooks/", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	case source:
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = w.Write(text) // a client that left needs no answer
		return
	}
	rules, recorded, err := b.alertRules()
	i := slices.IndexFunc(rules, func(r alerts.Rule) bool { return r.Alert == name })
	var body bytes.Buffer
	if err == nil {
		err = b.markdown.Convert(text, &body)
	}
	if err != nil || i < 0 {
		http.Error(w, "this runbook cannot be shown: "+errors.Join(err, errors.New(name)).Error(), http.StatusInternalServerError)
		return
	}
	values, fault := b.values(r.Context(), alerts.Metrics(rules[i].Expr, recorded))
	b.send(w, alertPage, struct {
		Title  string
		Body   template.HTML // of our own making
		Rule   alerts.Rule
		Values []string
		Fault  error
	}{name, template.HTML(body.String()), rules[i], values, fault})
}

func (b *runbook) send(w http.ResponseWriter, page *template.Template, with any) {
	var out bytes.Buffer
	if err := page.Execute(&out, with); err != nil {
		b.log.Warn("a runbook cannot be shown", zap.Error(err))
		http.Error(w, "this page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(out.Bytes()) // a client that left needs no answer
}
