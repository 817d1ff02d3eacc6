package telemetry

import (
	"io"
	"math"
	"strconv"
)

// ContentType is the media type of what WriteTo and Merge write.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteTo writes all families in the text format 0.0.4: sorted by name, each with
// one HELP and one TYPE line, its series sorted. A family without a series yet is
// left out. It takes no lock that a count could wait for.
func (m *Metrics) WriteTo(w io.Writer) (int64, error) {
	all := make([]byte, 0, 32<<10)
	for _, f := range *m.sorted.Load() {
		if s := f.series.Load(); s != nil && len(*s) > 0 {
			all = appendHeader(all, f.name, f.help, string(f.kind))
			for _, one := range *s {
				all = f.appendMember(all, one)
			}
		}
	}
	n, err := w.Write(all)
	return int64(n), err
}

// appendMember writes the lines of one series.
func (f *family) appendMember(b []byte, s *member) []byte {
	if s.histogram != nil {
		return s.histogram.append(b)
	}
	b = append(b, f.name...)
	if s.labels != "" {
		b = append(append(append(b, '{'), s.labels...), '}')
	}
	b = append(b, ' ')
	if s.count != nil {
		b = strconv.AppendUint(b, s.count.Get(), 10)
	} else {
		b = appendNumber(b, s.read())
	}
	return append(b, '\n')
}

// appendNumber writes whole numbers as such, which scrapers need not and people
// like.
func appendNumber(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func appendHeader(b []byte, name, help, kind string) []byte {
	b = append(append(append(b, "# HELP "...), name...), ' ')
	b = append(append(b, helpEscape(help)...), "\n# TYPE "...)
	return append(append(append(append(b, name...), ' '), kind...), '\n')
}
