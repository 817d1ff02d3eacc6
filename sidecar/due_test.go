package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semantic-pod/semantic/telemetry"
)

// lineAt is a log line of that time.
func lineAt(t time.Time) string {
	return fmt.Sprintf(`{"ts":"%s","boot":"0123456789abcdef","seq":1,"level":"info","msg":"x"}`+"\n", t.UTC().Format("2006-01-02T15:04:05.000000000Z"))
}

func TestLogIsRotatedByAgeAndSchedule(t *testing.T) {
	noon := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		content string
		age     Age
		cron    string
		due     time.Time // zero: never
		why     string
	}{
		"age":                      {lineAt(noon), Age(3 * time.Hour), "", noon.Add(3 * time.Hour), "age"},
		"schedule":                 {lineAt(noon), 0, "0 0 * * *", noon.Add(12 * time.Hour), "schedule"},
		"schedule by name":         {lineAt(noon), 0, "@hourly", noon.Add(time.Hour), "schedule"},
		"schedule in another zone": {lineAt(noon), 0, "CRON_TZ=Asia/Tokyo 0 0 * * *", noon.Add(3 * time.Hour), "schedule"},
		"the earlier of both":      {lineAt(noon), Age(day), "0 18 * * *", noon.Add(6 * time.Hour), "schedule"},
		"empty":                    {"", Age(time.Hour), "@hourly", time.Time{}, ""},
		"neither":                  {lineAt(noon), 0, "", time.Time{}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "proxy.log", c.content)
			cfg := testConfig(dir)
			cfg.RotateAge, cfg.RotateSchedule = c.age, c.cron
			s := newTestArchiver(t, cfg)
			rotated := func(now time.Time) bool {
				if err := s.rotator.check(now); err != nil {
					t.Fatal(err)
				}
				_, err := os.Stat(filepath.Join(dir, "proxy.log"))
				return err != nil
			}
			if c.due.IsZero() {
				if rotated(noon.AddDate(3, 0, 0)) {
					t.Error("it was rotated")
				}
				return
			}
			for _, early := range []time.Time{noon, noon.Add(-10 * day), c.due.Add(-time.Second)} { // the clock may step back
				if rotated(early) {
					t.Fatalf("it was rotated at %s, and due at %s", early, c.due)
				}
			}
			if !rotated(c.due) {
				t.Fatalf("it was not rotated at %s", c.due)
			}
			// The next file is not taken for the one before.
			write(t, dir, "proxy.log", lineAt(c.due))
			if rotated(c.due.Add(time.Minute)) {
				t.Error("its successor was rotated at once")
			}
		})
	}
}

// A sidecar that was away when the time came makes up for it.
func TestScheduleMissedWhileDownIsMadeUp(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, "proxy")
	l.Zap().Info("x")
	l.Sync()
	cfg := testConfig(dir)
	cfg.RotateSchedule = "0 3 * * 0"
	s := newTestArchiver(t, cfg)
	if err := s.rotator.check(time.Now().AddDate(0, 0, 8)); err != nil {
		t.Fatal(err)
	}
	if found, err := look(dir); err != nil || len(found.rotated) != 1 {
		t.Errorf("the folder has %q", names(t, dir))
	}
}

func TestForeignLogIsAsOldAsItsFirstSight(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "other.log", "2019-01-01 a line of another program\n")
	cfg := testConfig(dir)
	cfg.RotateAge = Age(time.Hour)
	s := newTestArchiver(t, cfg)
	now := time.Now()
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {59 * time.Minute, 0}, {time.Hour, 1}} {
		if err := s.rotator.check(now.Add(c.after)); err != nil {
			t.Fatal(err)
		}
		if found, err := look(dir); err != nil || len(found.rotated) != c.want {
			t.Errorf("after %s the folder has %q", c.after, names(t, dir))
		}
	}
}

func TestAgesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]time.Duration{"365d": 365 * day, "1.5d": 36 * time.Hour, "36h": 36 * time.Hour, "0": 0, "90m": 90 * time.Minute} {
		var a, again Age
		if err := a.UnmarshalText([]byte(text)); err != nil || time.Duration(a) != want {
			t.Errorf("%s is %s, %v", text, a, err)
		}
		if err := again.UnmarshalText([]byte(a.String())); err != nil || again != a {
			t.Errorf("%s is written %s and read as %s, %v", text, a, again, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "-1h", "NaNd", "1e9d", "tomorrow", "1w"} {
		var a Age
		if err := a.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "write days or hours") {
			t.Errorf("%q is taken as %s, %v", text, a, err)
		}
	}
}

// What the writers write is what the readers of lines expect.
func TestWritersLinesAreUnderstood(t *testing.T) {
	dir := t.TempDir()
	l, err := telemetry.OpenLog(telemetry.LogConfig{Process: "proxy", Dir: dir, Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := time.Now()
	l.Zap().Debug("x")
	l.Sync()
	got, err := readFirstTime(filepath.Join(dir, "proxy.log"))
	if err != nil || got.Before(before.Round(0)) || got.After(time.Now()) {
		t.Errorf("the first line is of %s, %v", got, err)
	}
}
