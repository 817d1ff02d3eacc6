package top

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// The screen uses nothing that a plain terminal lacks: ASCII and the oldest of the
// attributes. Bubble Tea takes the colours away where there are none, or NO_COLOR says
// so.
func bold(s string) string   { return "\x1b[1m" + s + "\x1b[0m" }
func dim(s string) string    { return "\x1b[2m" + s + "\x1b[0m" }
func red(s string) string    { return "\x1b[1;31m" + s + "\x1b[0m" }
func yellow(s string) string { return "\x1b[33m" + s + "\x1b[0m" }
func plain(s string) string  { return ansi.Strip(s) }

// bar draws a share from 0 to 1.
func bar(share float64, width int) string {
	share = min(1, max(0, share))
	full := int(math.Round(share * float64(width)))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "]"
}

// duration writes seconds in the unit that suits them.
func duration(seconds float64) string {
	switch {
	case math.IsNaN(seconds):
		return "-"
	case seconds < 0.0995:
		return fmt.Sprintf("%.1fms", seconds*1e3)
	case seconds < 0.9995:
		return fmt.Sprintf("%.0fms", seconds*1e3)
	case seconds < 120:
		return fmt.Sprintf("%.2fs", seconds)
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// amount writes a count or bytes with a factor of 1000 or 1024.
func amount(v, factor float64, unit string) string {
	const prefixes = " KMGT"
	i := 0
	for v >= factor && i < len(prefixes)-1 {
		v /= factor
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f%s", v, unit)
	}
	infix := ""
	if factor == 1024 {
		infix = "i"
	}
	return fmt.Sprintf("%.1f%c%s%s", v, prefixes[i], infix, unit)
}

// fit cuts a line to the width, and fills it up to it.
func fit(s string, width int) string {
	s = ansi.Truncate(s, width, "")
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// printable replaces what would move the terminal's cursor: names are their maker's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' {
			return '?'
		}
		return r
	}, s)
}
