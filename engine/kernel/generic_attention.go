package kernel

import "unsafe"

// block returns where this head's keys or values begin in the i-th block of a span.
func (s *span) block(i int) unsafe.Pointer {
	number := unsafe.Slice(s.table, s.blocks)[i]
	return unsafe.Add(unsafe.Pointer(s.base), int(number)*s.blockBytes)
}

// scoresGo multiplies four queries with every key: out[j][token] is the product of query j.
func scoresGo(s *span) {
	for j := range 4 {
		query := unsafe.Slice(s.in[j], s.dim)
		out := unsafe.Slice(s.out[j], s.blocks*BlockTokens)
		for b := range s.blocks {
			keys := unsafe.Slice((*uint16)(s.block(b)), BlockTokens*s.dim)
			for t := range BlockTokens {
				var sum float32
				for e, q := range query {
					sum = fma(q, FromHalf(keys[e*BlockTokens+t]), sum)
				}
				out[b*BlockTokens+t] = sum
			}
		}
	}
}

// valuesGo adds up sixteen elements of all values, each times its token's weight.
func valuesGo(s *span) {
	for j := range 4 {
		weights := unsafe.Slice(s.in[j], s.blocks*BlockTokens)
		var sums [16]float32
		for b := range s.blocks {
			tokens := BlockTokens
			if b == s.blocks-1 {
				tokens = s.last
			}
			start := s.block(b)
			for t := range tokens {
				value := unsafe.Slice((*uint16)(unsafe.Add(start, 2*t*s.dim)), len(sums))
				for e := range sums {
					sums[e] = fma(weights[b*BlockTokens+t], FromHalf(value[e]), sums[e])
				}
			}
		}
		copy(unsafe.Slice(s.out[j], len(sums)), sums[:])
	}
}

// scale returns the half-precision number at an offset into the scales of the i-th block.
func (s *span) scale(i, offset int) float32 {
	number := unsafe.Slice(s.table, s.blocks)[i]
	at := unsafe.Add(unsafe.Pointer(s.scales), int(number)*s.blockBytes+offset)
	return FromHalf(*(*uint16)(at))
}

// scoresQ8Go does what scoresGo does with keys of bytes.
func scoresQ8Go(s *span) {
	for j := range 4 {
		query := unsafe.Slice(s.in[j], s.dim)
		out := unsafe.Slice(s.out[j], s.blocks*BlockTokens)
		for b := range s.blocks {
			keys := unsafe.Slice((*int8)(s.block(b)), BlockTokens*s.dim)
			for t := range BlockTokens {
				var sum float32
				for e, q := range query {
					key := float32(keys[e*BlockTokens+t]) * s.scale(b, e/BlockElems*2*BlockTokens+2*t)
					sum = fma(q, key, sum)
				}
				out[b*BlockTokens+t] = sum
			}
		}
	}
}

// valuesQ8Go does what valuesGo does with values of bytes.
func valuesQ8Go(s *span) {
	for j := range 4 {
		weights := unsafe.Slice(s.in[j], s.blocks*BlockTokens)
		var sums [16]float32
		for b := range s.blocks {
			tokens := BlockTokens
			if b == s.blocks-1 {
				tokens = s.last
			}
			start := s.block(b)
			for t := range tokens {
				value, scale := unsafe.Slice((*int8)(unsafe.Add(start, t*s.dim)), len(sums)), s.scale(b, t*s.scaleStep)
				for e := range sums {
					v := float32(value[e]) * scale
					sums[e] = fma(weights[b*BlockTokens+t], v, sums[e])
				}
			}
		}
		copy(unsafe.Slice(s.out[j], len(sums)), sums[:])
	}
}
