package model

import (
	"fmt"
	"math"
	"testing"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/engine/kernel"
)

// naive computes the logits after every token as the papers say, in double precision, one token
// after the other, with nothing of the package but the unpacking of weights.
type naive struct {
	shape
	t    *testing.T
	file *gguf.File

	keys, values [][][]float64 // of each layer, of each token
	unpacked     map[string][][]float64
}

func (n *naive) vector(name string) []float64 {
	t, ok := n.file.Tensor(name)
	if !ok {
		n.t.Fatalf("no tensor %s", name)
	}
	var out []float64
	for _, f := range floats(t.Data) {
		out = append(out, float64(f))
	}
	return out
}

// rows returns a matrix's rows.
func (n *naive) rows(name string) [][]float64 {
	if n.unpacked == nil {
		n.unpacked = map[string][][]float64{}
	}
	if n.unpacked[name] == nil {
		n.unpacked[name] = n.unpack(name)
	}
	return n.unpacked[name]
}

func (n *naive) unpack(name string) [][]float64 {
	t, ok := n.file.Tensor(name)
	if !ok {
		n.t.Fatalf("no tensor %s", name)
	}
	m, err := kernel.NewMatrix(t.Type, t.Shape[1], t.Shape[0])
	if err != nil {
		n.t.Fatal(err)
	}
	m.SetMemory(make([]byte, m.Bytes()))
	m.Pack(t.Data, 0, m.Panels())
	out, row := make([][]float64, m.Rows), make([]float32, m.Cols)
	for r := range out {
		m.Row(row, r)
		for _, f := range row {
			out[r] = append(out[r], float64(f))
		}
	}
	return out
}

func times(rows [][]float64, x []float64) []float64 {
	out := make([]float64, len(rows))
	for r, row := range rows {
		for c, w := range row {
			out[r] += w * x[c]
		}
	}
	return out
}

func plus(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

func norm(x, weight []float64) []float64 {
	sum := 0.0
	for _, f := range x {
		sum += f * f
	}
	out := make([]float64, len(x))
	for i, f := range x {
		out[i] = f / math.Sqrt(sum/float64(len(x))+1e-5) * weight[i]
	}
	return out
}

// project returns the heads of one of the three projections.
func (n *naive) project(layer int, which string, x []float64, heads, position int) [][]float64 {
	name := fmt.Sprintf("blk.%d.attn_%s", layer, which)
	y := times(n.rows(name+".weight"), x)
	if n.biases {
		y = plus(y, n.vector(name+".bias"))
	}
	var out [][]float64
	for h := range heads {
		head := y[h*n.headDim : (h+1)*n.headDim]
		if which != "v" {
			if n.headNorms {
				head = norm(head, n.vector(name+"_norm.weight"))
			}
			head = n.turn(head, position)
		}
		out = append(out, head)
	}
	return out
}

// turn applies the rotary position: each pair turns by position times base^(-2i/dims).
func (n *naive) turn(head []float64, position int) []float64 {
	out := append([]float64(nil), head...)
	dims := n.rotary
	if dims == 0 {
		dims = n.headDim
	}
	base := 10000.0
	if b, ok := n.set["rope.freq_base"].(float32); ok {
		base = float64(b)
	}
	for i := range dims / 2 {
		a, b := 2*i, 2*i+1
		if n.arch != "llama" {
			a, b = i, i+dims/2
		}
		angle := float64(position) * math.Pow(base, -2*float64(i)/float64(dims))
		if n.factors {
			angle /= n.vector("rope_freqs.weight")[i]
		}
		if f, ok := n.set["rope.scaling.factor"].(float32); ok {
			angle /= float64(f)
		}
		sin, cos := math.Sincos(angle)
		out[a], out[b] = head[a]*cos-head[b]*sin, head[a]*sin+head[b]*cos
	}
	return out
}

func (n *naive) attend(layer int, queries [][]float64) []float64 {
	var out []float64
	for h, q := range queries {
		kv := h / (n.heads / n.kvHeads)
		var weights []float64
		sum := 0.0
		for _, keys := range n.keys[layer] {
			dot := 0.0
			for e, f := range q {
				dot += f * keys[kv*n.headDim+e]
			}
			weights = append(weights, math.Exp(dot/math.Sqrt(float64(n.headDim))))
			sum += weights[len(weights)-1]
		}
		for e := range n.headDim {
			total := 0.0
			for t, values := range n.values[layer] {
				total += weights[t] / sum * values[kv*n.headDim+e]
			}
			out = append(out, total)
		}
	}
	return out
}

// next returns the logits after one more token.
func (n *naive) next(token int32) []float64 {
	if n.keys == nil {
		n.keys, n.values = make([][][]float64, n.layers), make([][][]float64, n.layers)
	}
	x := n.rows("token_embd.weight")[token]
	for i := range n.layers {
		name := func(part string) string { return fmt.Sprintf("blk.%d.%s.weight", i, part) }
		y := norm(x, n.vector(name("attn_norm")))
		position := len(n.keys[i])
		queries := n.project(i, "q", y, n.heads, position)
		n.keys[i] = append(n.keys[i], flat(n.project(i, "k", y, n.kvHeads, position)))
		n.values[i] = append(n.values[i], flat(n.project(i, "v", y, n.kvHeads, position)))
		x = plus(x, times(n.rows(name("attn_output")), n.attend(i, queries)))
		y = norm(x, n.vector(name("ffn_norm")))
		gate, up := times(n.rows(name("ffn_gate")), y), times(n.rows(name("ffn_up")), y)
		for j, g := range gate {
			gate[j] = g / (1 + math.Exp(-g)) * up[j]
		}
		x = plus(x, times(n.rows(name("ffn_down")), gate))
	}
	head := "token_embd.weight"
	if n.output {
		head = "output.weight"
	}
	return times(n.rows(head), norm(x, n.vector("output_norm.weight")))
}

func flat(heads [][]float64) []float64 {
	var out []float64
	for _, h := range heads {
		out = append(out, h...)
	}
	return out
}
