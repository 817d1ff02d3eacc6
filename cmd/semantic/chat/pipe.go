package chat

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// Pipe reads a turn or an order from each line and writes the answers, until in ends. The first
// answer that fails ends it.
func Pipe(ctx context.Context, cfg Config, in io.Reader, out io.Writer) error {
	t := &talk{cfg: cfg}
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, maxEvent)
	for scan.Scan() && ctx.Err() == nil {
		line := strings.TrimSpace(scan.Text())
		if line == "" {
			continue
		}
		if line[0] == '/' {
			said, quit := t.order(line)
			if quit {
				return nil
			}
			fmt.Fprintln(out, said)
			continue
		}
		err := t.say(ctx, line, func(piece string) { _, _ = io.WriteString(out, piece) })
		fmt.Fprintln(out)
		if err != nil {
			return err
		}
	}
	return scan.Err()
}
