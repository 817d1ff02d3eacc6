package sidecar

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/semantic-pod/semantic/logchain"
)

// file is one of the folder's files that the sidecar looks after. Nothing in the
// folder that does not bear one of the names in logchain is ever touched.
type file struct {
	path   string
	log    string // "proxy.log"
	stamp  string // when it was rotated; "" while active
	suffix string // of a rotated file: "", logchain.ArchiveSuffix or logchain.PartSuffix
	size   int64
	info   os.FileInfo
}

// name is the file's name in the folder.
func (f file) name() string { return filepath.Base(f.path) }

// archiveName is the name that the file has, or will have, when it is compressed.
func (f file) archiveName() string {
	return logchain.Name{Log: f.log, Stamp: f.stamp, Suffix: logchain.ArchiveSuffix}.String()
}

// folder is what was found in the log folder at one look, by log and age.
type folder struct {
	active  []file
	rotated []file // oldest first within a log; those released and those not
	archive []file // likewise
	parts   []file
}

// look lists the folder.
func look(dir string) (folder, error) {
	var f folder
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it went between the two calls
		}
		f.add(file{path: filepath.Join(dir, e.Name()), size: info.Size(), info: info}, e.Name())
	}
	for _, list := range [][]file{f.active, f.rotated, f.archive} {
		slices.SortFunc(list, func(a, b file) int {
			return cmp.Or(strings.Compare(a.log, b.log), strings.Compare(a.stamp, b.stamp))
		})
	}
	return f, nil
}

func (f *folder) add(one file, name string) {
	n, ok := logchain.ParseName(name)
	if !ok {
		if strings.HasSuffix(name, logchain.ActiveSuffix) {
			one.log = name
			f.active = append(f.active, one)
		}
		return
	}
	one.log, one.stamp, one.suffix = n.Log, n.Stamp, n.Suffix
	switch one.suffix {
	case logchain.ArchiveSuffix:
		f.archive = append(f.archive, one)
	case logchain.PartSuffix:
		f.parts = append(f.parts, one)
	default:
		f.rotated = append(f.rotated, one)
	}
}

// lastStamp returns the highest stamp of the log's rotated files.
func (f *folder) lastStamp(log string) string {
	last := ""
	for _, list := range [][]file{f.rotated, f.archive} {
		for _, one := range list {
			if one.log == log {
				last = max(last, one.stamp)
			}
		}
	}
	return last
}

// both lists the rotated files whose compressed form is there too, because a
// sidecar died between the two, with that form.
func (f *folder) both() map[string]file {
	plain := map[string]bool{}
	for _, one := range f.rotated {
		plain[one.archiveName()] = true
	}
	pairs := map[string]file{}
	for _, one := range f.archive {
		if plain[one.name()] {
			pairs[one.name()] = one
		}
	}
	return pairs
}

// drop takes a file that was removed off the lists.
func (f *folder) drop(gone file) {
	for _, list := range []*[]file{&f.rotated, &f.archive} {
		*list = slices.DeleteFunc(*list, func(one file) bool { return one.path == gone.path })
	}
}

// totalSize sums the sizes of files.
func totalSize(files ...file) int64 {
	sum := int64(0)
	for _, f := range files {
		sum += f.size
	}
	return sum
}
