package tokenizer

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpuTime returns how long the calling thread has run. Unlike the clock it does not count what
// other processes take.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestTimeGrowsWithTheTextNotWithItsSquare(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, name := range []string{"smollm", "llama-bpe", "default", "spm"} {
		tok := openVocabulary(t, name)
		for _, part := range []string{"a", " ", "\n", " \n", "1", "<|im_", "é", "!"} {
			cost := func(n int) time.Duration {
				text := strings.Repeat(part, n/len(part))
				start := cpuTime(t)
				tok.Encode(text, true)
				return cpuTime(t) - start
			}
			// A few milliseconds; the square of it takes several seconds.
			if d := cost(1 << 16); d > time.Second {
				t.Errorf("%s: 64 KiB of %q took %v", name, part, d)
			}
		}
	}
}
