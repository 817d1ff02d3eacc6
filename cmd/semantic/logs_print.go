package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/semantic-pod/semantic/logchain/logsearch"
)

// linePrinter writes log lines: as they are, or for people when that is a terminal.
type linePrinter struct {
	out    io.Writer
	pretty bool
	colour bool
}

func newLinePrinter(out io.Writer) *linePrinter {
	f, ok := out.(*os.File)
	if !ok {
		return &linePrinter{out: out}
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &linePrinter{out: out, pretty: err == nil, colour: os.Getenv("NO_COLOR") == ""}
}

func (p *linePrinter) lines(lines []logsearch.Line) error {
	var b strings.Builder
	for _, l := range lines {
		if p.pretty {
			p.format(&b, l.Text)
		} else {
			b.WriteString(l.Text)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// field is one of a line's, its value as JSON.
type field struct {
	name  string
	value json.RawMessage
}

// format writes the time, level, process and message, then the other fields in the
// order in which the process gave them.
func (p *linePrinter) format(b *strings.Builder, text string) {
	fields, err := splitFields(text)
	if err != nil {
		b.WriteString(strconv.QuoteToASCII(text))
		return
	}
	known := map[string]string{}
	var rest []field
	for _, f := range fields {
		switch f.name {
		case "ts", "level", "process", "msg":
			known[f.name] = plain(f.value)
		case "boot", "seq", "request_id": // they are the same, or of use to machines only
		default:
			rest = append(rest, f)
		}
	}
	_, clock, _ := strings.Cut(known["ts"], "T")
	b.WriteString(p.paint(faint, clock[:min(len(clock), len("15:04:05.000000"))]))
	fmt.Fprintf(b, "  %s  %s  %s", p.paint(levelColour(known["level"]), fmt.Sprintf("%-5s", strings.ToUpper(known["level"]))),
		p.paint(processColour(known["process"]), fmt.Sprintf("%-7s", known["process"])), p.paint(bold, known["msg"]))
	for _, f := range rest {
		b.WriteString("  " + p.paint(faint, visible(f.name)+"=") + plain(f.value))
	}
}

// splitFields takes a line of JSON apart and keeps the fields' order.
func splitFields(text string) ([]field, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var fields []field
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: fmt.Sprint(name)}
		if err := dec.Decode(&f.value); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// plain writes a value without quotes where they are not needed.
func plain(value json.RawMessage) string {
	var s string
	if !bytes.HasPrefix(value, []byte(`"`)) || json.Unmarshal(value, &s) != nil {
		return string(value)
	}
	return visible(s)
}

// visible quotes what could move a terminal's cursor.
func visible(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// The terminal's colours.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	purple = "35"
	cyan   = "36"
)

func (p *linePrinter) paint(colour, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func levelColour(level string) string {
	switch level {
	case "debug":
		return faint
	case "info":
		return green
	case "warn":
		return yellow
	}
	return red
}

func processColour(process string) string {
	switch process {
	case "proxy":
		return cyan
	case "engine":
		return purple
	}
	return blue
}
