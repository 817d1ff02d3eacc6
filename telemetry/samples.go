package telemetry

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Sample is one line of an exposition.
type Sample struct {
	Name   string
	Labels []Label // in the order in which they stand there
	Value  float64
}

// Label is one of a sample's labels.
type Label struct{ Name, Value string }

// Label returns the value of the label of that name, "" if there is none.
func (s *Sample) Label(name string) string {
	for _, l := range s.Labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// ReadSamples reads the samples of an exposition in text format 0.0.4, without their
// times.
func ReadSamples(exposition []byte) ([]Sample, error) {
	var all []Sample
	for line := range bytes.Lines(exposition) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		end := seriesEnd(line)
		if end <= 0 || end >= len(line) {
			return all, fmt.Errorf("cannot read the metrics line %.80q", line)
		}
		s := Sample{Name: string(line[:nameEnd(line)])}
		number, _, _ := strings.Cut(strings.TrimSpace(string(line[end:])), " ")
		var err error
		if s.Value, err = strconv.ParseFloat(number, 64); err != nil {
			return all, fmt.Errorf("cannot read the value in the metrics line %.80q", line)
		}
		if end > len(s.Name)+2 {
			if s.Labels, err = readLabels(string(line[len(s.Name)+1 : end-1])); err != nil {
				return all, fmt.Errorf("%w in the metrics line %.80q", err, line)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

var labelUnescaper = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")

func readLabels(text string) ([]Label, error) {
	var all []Label
	for text != "" {
		name, rest, ok := strings.Cut(text, `="`)
		if !ok {
			return all, fmt.Errorf("cannot read the labels %.80q", text)
		}
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return all, fmt.Errorf("cannot read the label %s", name)
		}
		all = append(all, Label{strings.TrimSpace(name), labelUnescaper.Replace(rest[:end])})
		text = strings.TrimLeft(rest[end+1:], ", ")
	}
	return all, nil
}
