package measure

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// BenchmarkChoice measures what the format was chosen by: how fast checksums, encryption and
// compression go over real keys and values, block by block.
func BenchmarkChoice(b *testing.B) {
	a := computeReal(b)
	size := int64(len(a.blocks)) * int64(a.geometry.BlockBytes)
	each := func(name string, f func(block []byte)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				for _, block := range a.blocks {
					f(block)
				}
			}
		})
	}
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	scratch := make([]byte, a.geometry.BlockBytes+1<<16)
	each("copy", func(block []byte) { copy(scratch, block) })
	each("crc32c", func(block []byte) { crc32.Checksum(block, castagnoli) })
	each("xxh64", func(block []byte) { xxhash.Sum64(block) })
	each("sha256", func(block []byte) { sha256.Sum256(block) })
	c, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(c)
	var nonce [12]byte
	each("aes256gcm", func(block []byte) { gcm.Seal(scratch[:0], nonce[:], block, nil) })
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
		measureZstd(b, a, level, false)
		measureZstd(b, a, level, true)
	}
}

func measureZstd(b *testing.B, a realAgent, level zstd.EncoderLevel, planes bool) {
	e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithAllLitEntropyCompression(true))
	d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	defer d.Close()
	size := int64(len(a.blocks)) * int64(a.geometry.BlockBytes)
	name := fmt.Sprintf("zstd-%v-planes=%v", level, planes)
	raw, packed := make([]byte, a.geometry.BlockBytes), make([]byte, 0, 2*a.geometry.BlockBytes)
	b.Run(name+"/compress", func(b *testing.B) {
		b.SetBytes(size)
		total := 0
		for b.Loop() {
			total = 0
			for _, block := range a.blocks {
				if planes {
					splitPlanes(raw, block)
					block = raw
				}
				total += len(e.EncodeAll(block, packed[:0]))
			}
		}
		b.ReportMetric(float64(total)/float64(size), "ratio")
	})
	var frames [][]byte
	for _, block := range a.blocks {
		if planes {
			splitPlanes(raw, block)
			block = raw
		}
		frames = append(frames, e.EncodeAll(block, nil))
	}
	joined := make([]byte, a.geometry.BlockBytes)
	b.Run(name+"/decompress", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			for _, frame := range frames {
				out, err := d.DecodeAll(frame, raw[:0])
				if err != nil {
					b.Fatal(err)
				}
				if planes {
					joinPlanes(joined, out)
				}
			}
		}
	})
}

// splitPlanes puts the low bytes of 16-bit numbers first and their high bytes after.
func splitPlanes(dst, src []byte) {
	half := len(src) / 2
	for i := range half {
		dst[i], dst[half+i] = src[2*i], src[2*i+1]
	}
}

func joinPlanes(dst, src []byte) {
	half := len(src) / 2
	for i := range half {
		dst[2*i], dst[2*i+1] = src[i], src[half+i]
	}
}
