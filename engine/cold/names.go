package cold

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/engine/store"
	"github.com/semantic-pod/semantic/objectstore"
)

// In the store:
//
//	agents/<space>/<tenant>/<agent>/<generation>.lease       who may write that generation
//	agents/<space>/<tenant>/<agent>/<generation>-<sum>.kv    what was written
//	agents/<space>/<tenant>/<agent>/<generation>.gone        the agent was deleted
//	agents/<space>/gone/<hour>/<tenant>-<agent>-<generation> the same, for pods that watch
//
// Space, tenant and agent are those of the warm tier: hashes, keyed if there is a key. A
// generation has 16 hexadecimal digits and is higher than all before it; the sum is of the file.
const (
	rootFolder = "agents/"
	goneFolder = "gone/"
	dataSuffix = ".kv"
	leaseName  = ".lease"
	goneName   = ".gone"
)

// kind is what an object of an agent is.
type kind int

const (
	leased kind = iota
	written
	gone
)

// object is one of an agent's.
type object struct {
	objectstore.Object
	kind       kind
	generation uint64
	sum        string // of what was written
}

// readName reads the last part of a key.
func readName(o objectstore.Object, name string) (object, bool) {
	obj := object{Object: o}
	switch {
	case strings.HasSuffix(name, leaseName):
		obj.kind, name = leased, strings.TrimSuffix(name, leaseName)
	case strings.HasSuffix(name, goneName):
		obj.kind, name = gone, strings.TrimSuffix(name, goneName)
	case strings.HasSuffix(name, dataSuffix):
		obj.kind = written
		var cut bool
		if name, obj.sum, cut = strings.Cut(strings.TrimSuffix(name, dataSuffix), "-"); !cut || len(obj.sum) != 16 {
			return obj, false
		}
	default:
		return obj, false
	}
	n, err := strconv.ParseUint(name, 16, 64)
	obj.generation = n
	return obj, err == nil && len(name) == 16
}

// history is what the store has of one agent.
type history struct {
	objects []object
	latest  *object // the last that was written or is gone; nil for none
	highest uint64  // of all generations, leased ones included
}

func (h *history) add(o object) {
	h.objects = append(h.objects, o)
	h.highest = max(h.highest, o.generation)
}

// settle finds the latest once all is there.
func (h *history) settle() {
	for i := range h.objects {
		o := &h.objects[i]
		if o.kind == leased || h.latest != nil && (h.latest.generation > o.generation || h.latest.generation == o.generation && h.latest.kind == gone) {
			continue
		}
		h.latest = o
	}
}

// there returns what can be fetched.
func (h *history) there() (object, bool) {
	if h.latest == nil || h.latest.kind != written {
		return object{}, false
	}
	return *h.latest, true
}

// deleted returns the generation by which the agent was last deleted, 0 for never.
func (h *history) deleted() (generation uint64, when time.Time) {
	for _, o := range h.objects {
		if o.kind == gone && o.generation > generation {
			generation, when = o.generation, o.Time
		}
	}
	return generation, when
}

func (t *Tier) leaseKey(place string, generation uint64) string {
	return fmt.Sprintf("%s%s/%016x%s", t.root, place, generation, leaseName)
}

func (t *Tier) goneKey(place string, generation uint64) string {
	return fmt.Sprintf("%s%s/%016x%s", t.root, place, generation, goneName)
}

func (t *Tier) dataKey(place string, generation uint64, sum string) string {
	return fmt.Sprintf("%s%s/%016x-%s%s", t.root, place, generation, sum, dataSuffix)
}

// hourKey is the folder of what was deleted within an hour.
func (t *Tier) hourKey(when time.Time) string {
	return fmt.Sprintf("%s%s%d/", t.root, goneFolder, when.Unix()/3600)
}

func (t *Tier) noticeKey(place string, generation uint64, now time.Time) string {
	return fmt.Sprintf("%s%s-%016x", t.hourKey(now), strings.Replace(place, "/", "-", 1), generation)
}

// readNotice reads the end of a notice's key.
func readNotice(key string) (place string, generation uint64, ok bool) {
	name := key[strings.LastIndexByte(key, '/')+1:]
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return "", 0, false
	}
	place = parts[0] + "/" + parts[1]
	generation, err := strconv.ParseUint(parts[2], 16, 64)
	return place, generation, err == nil && store.IsPlace(place)
}
