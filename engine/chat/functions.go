package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// boundedRange is Python's range as a list.
func boundedRange(arguments *exec.VarArgs) ([]int, error) {
	start, stop, step := 0, 0, 1
	for _, a := range arguments.Args {
		if !a.IsInteger() {
			return nil, errors.New("range takes integers")
		}
	}
	switch a := arguments.Args; len(a) {
	case 1:
		stop = a[0].Integer()
	case 3:
		step = a[2].Integer()
		fallthrough
	case 2:
		start, stop = a[0].Integer(), a[1].Integer()
	default:
		return nil, errors.New("range takes one to three integers")
	}
	if step == 0 {
		return nil, errors.New("range takes no step of 0")
	}
	out := []int{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(out) == maxRange {
			return nil, fmt.Errorf("range is longer than %d", maxRange)
		}
		out = append(out, i)
	}
	return out, nil
}

// strftimeNow is the time in C's format.
func (t *Template) strftimeNow(arguments *exec.VarArgs) string {
	return strftime(t.now(), arguments.First().String())
}

// layouts are strftime's directives in package time's terms.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'j': "002",
	'm': "01", 'M': "04", 'p': "PM", 'S': "05", 'y': "06", 'Y': "2006", 'Z': "MST", 'z': "-0700",
	'D': "01/02/06", 'F': "2006-01-02", 'R': "15:04", 'T': "15:04:05", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
}

func strftime(now time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch layout, ok := layouts[format[i]]; {
		case format[i] == '%':
			b.WriteByte('%')
		case ok:
			b.WriteString(now.Format(layout))
		default:
			b.WriteString(format[i-1 : i+1])
		}
	}
	return b.String()
}

// generation is transformers' tag around what the assistant said. It marks tokens for training;
// in a prompt it is nothing.
type generation struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func (g generation) Position() *tokens.Token { return g.at }
func (g generation) String() string          { return "generation" }

func (g generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteWrapper(g.body)
}

func parseGeneration(p, _ *parser.Parser) (nodes.ControlStructure, error) {
	at := p.Current()
	body, _, err := p.WrapUntil("endgeneration")
	return generation{at, body}, err
}
