package logchain

import (
	"regexp"
	"strings"
	"time"
)

// A log's names through its life:
//
//	proxy.log                                       written by its process
//	proxy.log.20261123T124507.123456789Z            rotated
//	proxy.log.20261123T124507.123456789Z.zst.part   being compressed
//	proxy.log.20261123T124507.123456789Z.zst        compressed and verified
//	proxy.errors.log.20261123T124507.123456789Z     error lines of rotated files
const (
	FileName      = "manifest.jsonl" // of the manifest in the log folder
	ActiveSuffix  = ".log"
	ArchiveSuffix = ".zst"
	PartEnding    = ".part" // behind ArchiveSuffix
	PartSuffix    = ArchiveSuffix + PartEnding
	stampLayout   = "20060102T150405.000000000Z"
	errorsSuffix  = ".errors" + ActiveSuffix
)

var rotatedName = regexp.MustCompile(`^(.+\.log)\.(\d{8}T\d{6}\.\d{9}Z)(\.zst|\.zst\.part)?$`)

// Name is the name of a rotated file, taken apart.
type Name struct {
	Log    string // "proxy.log"
	Stamp  string // when it was rotated; sorts by time
	Suffix string // "", ArchiveSuffix or PartSuffix
}

// ParseName takes the name of a rotated file apart; any other is none.
func ParseName(name string) (Name, bool) {
	m := rotatedName.FindStringSubmatch(name)
	if m == nil {
		return Name{}, false
	}
	return Name{Log: m[1], Stamp: m[2], Suffix: m[3]}, true
}

func (n Name) String() string { return n.Log + "." + n.Stamp + n.Suffix }

// ErrorsLog names the log that takes the error lines of another one.
func ErrorsLog(log string) string {
	return strings.TrimSuffix(log, ActiveSuffix) + errorsSuffix
}

// HoldsErrors reports whether the log is one that takes error lines.
func HoldsErrors(log string) bool { return strings.HasSuffix(log, errorsSuffix) }

// Stamp writes a time as names have it.
func Stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// StampTime reads the time in a name. Digits that are no date are somebody else's.
func StampTime(stamp string) (time.Time, bool) {
	t, err := time.Parse(stampLayout, stamp)
	return t, err == nil
}

// NextStamp returns the stamp of now, or the first one after last if that is later:
// names rise though the clock is set back.
func NextStamp(last string, now time.Time) string {
	stamp := Stamp(now)
	if stamp > last {
		return stamp
	}
	t, ok := StampTime(last)
	if !ok {
		return stamp
	}
	return Stamp(t.Add(1))
}
