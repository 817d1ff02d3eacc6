package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
)

func TestATemplateReadsNoFile(t *testing.T) {
	_, tok := openModel(t)
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{
		"{% include '" + path + "' %}", "{% extends '" + path + "' %}", "{% import '" + path + "' as x %}{{ x }}",
		"{% from '" + path + "' import x %}", "{% block a %}{{ self.a() }}{% endblock %}",
	} {
		if tpl, err := Parse(source, tok); err == nil {
			segments, err := tpl.Render(nil, Options{})
			t.Errorf("%s was rendered: %q, %v", source, text(segments), err)
		}
	}
}

func TestATemplateThatDoesNotEndIsEnded(t *testing.T) {
	for _, c := range []struct{ name, source, says string }{
		{"loops in loops", "{% for a in range(60000) %}{% for b in range(60000) %}{% endfor %}{% endfor %}", "it takes"},
		{"a long range", "{% for a in range(1000000000) %}{% endfor %}", "it fails"},
		{"a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deep"},
		{"two macros that call each other", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "deep"},
		{"endless text", "{% for a in range(1000) %}{{ 'x' * 1000 }}{% endfor %}", "writes too much"},
		{"a division by zero", "{{ 1 % 0 }}", "interpreter failed"},
		{"an unknown function", "line one\n{{ open('/etc/passwd') }}", "line 2"},
	} {
		tpl := parse(t, c.source)
		start := time.Now()
		_, err := tpl.Render(nil, Options{})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		if d := time.Since(start); d > 10*maxTime {
			t.Errorf("%s took %v", c.name, d)
		}
	}
}

func TestATemplateThatIsNoneIsRefused(t *testing.T) {
	_, tok := openModel(t)
	for _, source := range []string{
		"{% for %}", "{{ ", "{% if x %}", "{% nothing %}", "{% for a in b recursive %}{% endfor %}",
		strings.Repeat("(", maxSource+1), "{{" + strings.Repeat("(", maxSource-10) + "}}", "\U0010F000",
		strings.Repeat("{%if a%}", 1000) + strings.Repeat("{%endif%}", 1000), "{{" + strings.Repeat("[{a:(", 100) + "}}",
	} {
		if _, err := Parse(source, tok); err == nil {
			t.Errorf("%.20q was accepted", source)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%.20q: the error has %d bytes", source, len(err.Error()))
		}
	}
}

func TestErrorsOfATemplateDoNotQuoteMessages(t *testing.T) {
	tpl := parse(t, "{{ messages[0].content.nothing() }}")
	_, err := tpl.Render([]Message{{Role: "user", Content: "private"}}, Options{})
	if err == nil || strings.Contains(err.Error(), "private") {
		t.Errorf("got %v", err)
	}
}

func TestDeepTemplatesDoNotEndTheProcess(t *testing.T) {
	n := maxSource / 30
	tpl := parse(t, strings.Repeat("{% set a %}", n)+"x"+strings.Repeat("{% endset %}", n)+"{{ a }}")
	if _, err := tpl.Render(nil, Options{}); err != nil {
		t.Error(err)
	}
	tpl = parse(t, "{{ 1"+strings.Repeat(" ~ 1", maxSource/5)+" }}")
	if _, err := tpl.Render(nil, Options{}); err != nil {
		t.Error(err)
	}
	tpl = parse(t, strings.Repeat("{% set a = 1 %}", 1000)) // many, and none in another
	if _, err := tpl.Render(nil, Options{}); err != nil {
		t.Error(err)
	}
}

func TestEveryAllowedNameExists(t *testing.T) {
	for _, name := range allowedFilters {
		if !builtins.Filters.Exists(name) {
			t.Errorf("there is no filter %s", name)
		}
	}
	for _, name := range allowedTags {
		if !builtins.ControlStructures.Exists(name) {
			t.Errorf("there is no tag %s", name)
		}
	}
	for _, name := range allowedGlobals {
		if !builtins.GlobalFunctions.Has(name) {
			t.Errorf("there is no function %s", name)
		}
	}
}
