package measure

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process holds, in MiB. PSS shares out the pages that several processes have in
// common, such as the binary's; Anonymous is what is neither a model's file nor the binary.
type Memory struct {
	PSS       float64 `json:"pss_mib"`
	RSS       float64 `json:"rss_mib"`
	Anonymous float64 `json:"anonymous_mib"`
}

// MemoryOf asks the kernel.
func MemoryOf(pid int) (m Memory, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return m, err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		words := strings.Fields(scan.Text())
		to := map[string]*float64{"Pss:": &m.PSS, "Rss:": &m.RSS, "Anonymous:": &m.Anonymous}[words[0]]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return m, err
		}
		*to = Round(kib / 1024)
	}
	return m, scan.Err()
}
