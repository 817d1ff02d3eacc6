package enginetest

import (
	"bytes"
	"encoding/binary"
)

// The parts of GGUF version 3 that the models made here need.
const (
	ggufMagic   = "GGUF"
	ggufVersion = 3
	alignment   = 32

	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9

	tensorF32 = 0
)

// ggufWriter collects metadata and tensors and writes them as one file.
type ggufWriter struct {
	pairs   bytes.Buffer
	nPairs  uint64
	infos   bytes.Buffer
	nInfos  uint64
	tensors bytes.Buffer
}

func put(b *bytes.Buffer, v any) {
	_ = binary.Write(b, binary.LittleEndian, v) // a bytes.Buffer takes all
}

func putString(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

func (w *ggufWriter) pair(key string, kind uint32) {
	w.nPairs++
	putString(&w.pairs, key)
	put(&w.pairs, kind)
}

func (w *ggufWriter) uint(key string, v uint32) {
	w.pair(key, typeUint32)
	put(&w.pairs, v)
}

func (w *ggufWriter) float(key string, v float32) {
	w.pair(key, typeFloat32)
	put(&w.pairs, v)
}

func (w *ggufWriter) bool(key string, v bool) {
	w.pair(key, typeBool)
	put(&w.pairs, v)
}

func (w *ggufWriter) string(key, v string) {
	w.pair(key, typeString)
	putString(&w.pairs, v)
}

func (w *ggufWriter) strings(key string, v []string) {
	w.pair(key, typeArray)
	put(&w.pairs, uint32(typeString))
	put(&w.pairs, uint64(len(v)))
	for _, s := range v {
		putString(&w.pairs, s)
	}
}

func (w *ggufWriter) ints(key string, v []int32) {
	w.pair(key, typeArray)
	put(&w.pairs, uint32(typeInt32))
	put(&w.pairs, uint64(len(v)))
	put(&w.pairs, v)
}

func (w *ggufWriter) tensor(name string, data []float32, shape ...int) {
	w.nInfos++
	putString(&w.infos, name)
	put(&w.infos, uint32(len(shape)))
	for _, n := range shape {
		put(&w.infos, uint64(n))
	}
	put(&w.infos, uint32(tensorF32))
	put(&w.infos, uint64(w.tensors.Len()))
	put(&w.tensors, data)
	pad(&w.tensors)
}

func pad(b *bytes.Buffer) {
	for b.Len()%alignment != 0 {
		b.WriteByte(0)
	}
}

func (w *ggufWriter) writeTo(out *bytes.Buffer) {
	out.WriteString(ggufMagic)
	put(out, uint32(ggufVersion))
	put(out, w.nInfos)
	put(out, w.nPairs)
	out.Write(w.pairs.Bytes())
	out.Write(w.infos.Bytes())
	pad(out)
	out.Write(w.tensors.Bytes())
}
