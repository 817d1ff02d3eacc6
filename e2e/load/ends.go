package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Read adds what the proxy's logs in a folder say, rotated and compressed ones too. The
// pod must have ended: a file that is being compressed would be read twice.
func (e Ends) Read(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "proxy.log*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := e.readFile(path); err != nil {
			return fmt.Errorf("cannot read %s: %w", path, err)
		}
	}
	return nil
}

func (e Ends) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var text io.Reader = f
	if strings.HasSuffix(path, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			return err
		}
		defer z.Close()
		text = z
	}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Msg    string
			ID     string `json:"request_id"`
			Finish string
		}
		if json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "request" { // a killed writer's last line may be torn
			e[l.ID] = append(e[l.ID], l.Finish)
		}
	}
	return lines.Err()
}
