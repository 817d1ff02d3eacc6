package store

import (
	"bytes"
	"testing"
	"time"
)

// FuzzHead feeds the parser of heads with anything. What it takes must be what the store itself
// would write, of a size that cannot overflow.
func FuzzHead(f *testing.F) {
	plain, _ := newKeyring(nil)
	keyed, _ := newKeyring(testKey)
	for _, ring := range []*keyring{&plain, &keyed} {
		for _, names := range [][2]string{{"acme", "a"}, {"", ""}, {"t", string(make([]byte, maxName))}} {
			h := &head{
				fingerprint: [32]byte{1}, kvType: "f16", geometry: smallGeometry, tokens: 10,
				created: 1, lastUse: 2, expires: 2 + int64(time.Hour), tenant: names[0], id: names[1],
			}
			b, _, err := h.encode(ring)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add(b[:len(b)/2])
			f.Add(append(bytes.Clone(b), "more"...))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, ring := range []*keyring{&plain, &keyed} {
			// The parser is reached behind the seal, too.
			sealed := bytes.Clone(b)
			if !ring.encrypted && len(b) > preludeSize {
				sealed = (&sealer{}).sealHead(sealed[:preludeSize:preludeSize], sealed[preludeSize:])
			}
			for _, in := range [][]byte{b, sealed} {
				h, s, err := decodeHead(in, ring)
				if err != nil {
					if _, ok := asFileError(err); !ok {
						t.Fatalf("no reason: %v", err)
					}
					continue
				}
				l := h.layout(s.size())
				if l.size <= l.whole || l.whole < l.seals || l.seals <= l.body || l.body <= l.tokens || l.blocks < 1 || l.head > maxHead {
					t.Fatalf("impossible layout %+v", l)
				}
				again, _, err := h.encode(ring)
				if err != nil || !bytes.Equal(again, in[:l.head]) {
					t.Fatalf("encoded again it is another head: %x, %x, %v", in[:l.head], again, err)
				}
			}
		}
	})
}
