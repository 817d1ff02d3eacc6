package kernel

// RMSNorm writes x over its root mean square, times weight. dst may be x.
func (v *Variant) RMSNorm(dst, x, weight []float32, epsilon float32) {
	n := len(weight)
	if n%lanes != 0 {
		rmsNormGo(&dst[0], &x[0], &weight[0], n, epsilon)
		return
	}
	v.rmsNorm(&dst[0], &x[0], &weight[0], n, epsilon)
}

// SwiGLU writes gate/(1+e^-gate) times up. dst may be gate.
func (v *Variant) SwiGLU(dst, gate, up []float32) {
	n := len(dst) / lanes * lanes
	if n > 0 {
		v.swiglu(&dst[0], &gate[0], &up[0], n)
	}
	if n < len(dst) {
		swigluGo(&dst[n], &gate[n], &up[n], len(dst)-n)
	}
}

// Rope turns the first len(cos) elements of each head by their position's angles. The pairs are
// neighbours, or with halves the i-th elements of both halves. There must be multiples of 8
// elements, or of 16 with halves.
func (v *Variant) Rope(x, cos, sin []float32, heads, dim int, halves bool) {
	if halves {
		v.ropeHalves(&x[0], &cos[0], &sin[0], heads, dim, len(cos))
	} else {
		v.ropePairs(&x[0], &cos[0], &sin[0], heads, dim, len(cos))
	}
}
