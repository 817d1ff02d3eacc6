package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"gocloud.dev/blob"

	"github.com/semantic-pod/semantic/logchain"
)

// s3Store serves a bucket on loopback, as S3 does, and returns its address.
func s3Store(t testing.TB) (address string, down func()) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("logs"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	return "s3://logs?region=us-east-1&use_path_style=true&endpoint=" + server.URL, server.Close
}

func fileStore(t testing.TB) string {
	t.Helper()
	return "file://" + t.TempDir() + "?no_tmp_dir=true&metadata=skip"
}

// object reads what is in a store.
func object(t testing.TB, address, key string) string {
	t.Helper()
	bucket, err := blob.OpenBucket(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	data, err := bucket.ReadAll(context.Background(), key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return string(data)
}

func hostname(t testing.TB) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// A store that takes a call and never answers does not hold the loop: it is told, and
// what waits is shipped when the store is back.
func TestSilentStoreHoldsNothingForGood(t *testing.T) {
	backend := s3mem.New()
	must(backend.CreateBucket("logs"))
	real := gofakes3.New(backend).Server()
	var awake atomic.Bool
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !awake.Load() {
			<-end
			return
		}
		real.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	defer close(end)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	cfg := testConfig(t.TempDir())
	rotatedLogs(t, cfg.LogDir, 2)
	cfg.ShipTo = "s3://logs?region=us-east-1&use_path_style=true&endpoint=" + server.URL
	s, err := New(cfg, openLog(t, t.TempDir(), "sidecar"))
	must(err)
	s.ship.stillAfter = 3 * time.Second
	must(s.Start())
	t.Cleanup(func() { stop(t, s) })
	within(t, time.Minute, "it is told", func() bool {
		return strings.Contains(s.health.report(time.Now()).Duties["log_ship"].Error, "nothing moved for 3s")
	})
	awake.Store(true)
	within(t, time.Minute, "both files are shipped", func() bool { return gauge(t, s, "semantic_log_files_shipped_total") == "2" })
}

// rotatedLogs makes rotated logs that nobody holds.
func rotatedLogs(t testing.TB, dir string, n int) {
	t.Helper()
	for i := range n {
		stamp := logchain.NextStamp("", time.Now().Add(time.Duration(i-n)*time.Hour))
		line := fmt.Sprintf(`{"ts":"2026-11-26T16:00:00.000000000Z","boot":"0123456789abcdef","seq":%d,"level":"info","msg":"m","process":"proxy"}`+"\n", i+1)
		write(t, dir, "proxy.log."+stamp, strings.Repeat(line, 1)+"")
	}
}

// Archived logs come to the store, each copy equal to its file, with the manifest; only
// then does retention take them.
func TestArchivedLogsAreShippedBeforeTheyGo(t *testing.T) {
	s3, _ := s3Store(t)
	for name, address := range map[string]string{"file": fileStore(t), "s3": s3} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			rotatedLogs(t, cfg.LogDir, 5)
			cfg.ShipTo, cfg.Keep = address, 2
			s := startTest(t, cfg)
			eventually(t, "five files are shipped", func() bool { return gauge(t, s, "semantic_log_files_shipped_total") == "5" })
			eventually(t, "two files are kept", func() bool {
				found, err := look(cfg.LogDir)
				return err == nil && len(found.archive) == 2 && len(found.rotated) == 0
			})
			eventually(t, "nothing waits", func() bool { return gauge(t, s, "semantic_log_files_unshipped") == "0" })
			found, err := look(cfg.LogDir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found.archive {
				local, err := os.ReadFile(f.path)
				if err != nil {
					t.Fatal(err)
				}
				if got := object(t, address, hostname(t)+"/"+f.name()); got != string(local) {
					t.Errorf("%s is another in the store", f.name())
				}
			}
			r, err := logchain.Verify(t.Context(), cfg.LogDir, logchain.Expect{})
			if err != nil || len(r.Faults) > 0 || r.Shipped != 5 || r.Removed != 3 {
				t.Errorf("the manifest proves %+v, %v", r, err)
			}
			if text := object(t, address, hostname(t)+"/"+logchain.FileName); strings.Count(text, `"kind":"shipped"`) == 0 {
				t.Error("the manifest in the store knows of no copy")
			}
			if d := dutyOf(t, s, "log_ship"); d.Error != "" || d.Never {
				t.Errorf("duty %+v", d)
			}
		})
	}
}

// A store that is down keeps the files here, and is told; they go when it is back.
func TestLogsStayWhileTheStoreIsDown(t *testing.T) {
	cfg := testConfig(t.TempDir())
	store := filepath.Join(t.TempDir(), "store")
	rotatedLogs(t, cfg.LogDir, 4)
	cfg.ShipTo, cfg.Keep = "file://"+store+"?no_tmp_dir=true&metadata=skip", 1
	s := startTest(t, cfg)
	dutySays(t, s, "log_ship", "cannot open --ship-to")
	eventually(t, "all are archived", func() bool {
		found, err := look(cfg.LogDir)
		return err == nil && len(found.archive) == 4
	})
	time.Sleep(5 * cfg.CheckInterval)
	if found, err := look(cfg.LogDir); err != nil || len(found.archive) != 4 {
		t.Fatalf("%d files are left, %v", len(found.archive), err)
	}
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are shipped, and retention takes them", func() bool {
		found, err := look(cfg.LogDir)
		return err == nil && len(found.archive) == 1 && gauge(t, s, "semantic_log_files_shipped_total") == "4"
	})
}

// A copy that an earlier sidecar left torn is made anew; one that is whole is not sent
// again; one that the store changes is told and not listed.
func TestShippingGoesOnAfterACrash(t *testing.T) {
	cfg := testConfig(t.TempDir())
	rotatedLogs(t, cfg.LogDir, 2)
	s := startTest(t, cfg)
	eventually(t, "both are archived", func() bool { found, err := look(cfg.LogDir); return err == nil && len(found.archive) == 2 })
	stop(t, s)
	found, err := look(cfg.LogDir)
	if err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	there := filepath.Join(store, hostname(t))
	if err := os.Mkdir(there, 0o700); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(found.archive[0].path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, there, found.archive[0].name(), string(whole))
	write(t, there, found.archive[1].name(), "torn")
	before, err := os.Stat(filepath.Join(there, found.archive[0].name()))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ShipTo = "file://" + store + "?no_tmp_dir=true&metadata=skip"
	again := startTest(t, cfg)
	eventually(t, "both are shipped", func() bool { return gauge(t, again, "semantic_log_files_shipped_total") == "2" })
	if after, err := os.Stat(filepath.Join(there, found.archive[0].name())); err != nil || !os.SameFile(before, after) {
		t.Errorf("the whole copy was sent again: %v", err)
	}
	for _, f := range found.archive {
		local, _ := os.ReadFile(f.path)
		if copied, _ := os.ReadFile(filepath.Join(there, f.name())); string(copied) != string(local) {
			t.Errorf("%s is another in the store", f.name())
		}
	}
}

func TestStoreThatCannotBeIsRefused(t *testing.T) {
	for address, want := range map[string]string{"gs://x": "-tags gcs", "azblob://x": "-tags azure", "ftp://x": "there is no store", "bucket": "no address"} {
		cfg := testConfig(t.TempDir())
		cfg.ShipTo = address
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
