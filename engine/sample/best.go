package sample

import (
	"cmp"
	"math"
	"slices"
)

// fewTokens is up to which k the k best are kept in a sorted list, which costs one look at each
// logit; a histogram finds larger k faster.
const fewTokens = 256

// best appends the k highest logits to dst, the highest first and the lower id first of equals.
// Those that are impossible or no number are left out.
func best(dst []token, logits []float32, k int) []token {
	if k <= 0 {
		return dst
	}
	start, least := len(dst), float32(math.Inf(-1))
	insert := func(id int, x float32) {
		if !(x > least) {
			return
		}
		if len(dst)-start == k {
			dst = dst[:len(dst)-1]
		}
		at, _ := slices.BinarySearchFunc(dst[start:], x, func(t token, x float32) int {
			if t.logit >= x {
				return -1
			}
			return 1
		})
		dst = slices.Insert(dst, start+at, token{id: int32(id), logit: x})
		if len(dst)-start == k {
			least = dst[len(dst)-1].logit
		}
	}
	i := 0
	for ; i+8 <= len(logits); i += 8 { // mostly, none of eight is among them
		x := logits[i : i+8 : i+8]
		if !(x[0] > least || x[1] > least || x[2] > least || x[3] > least ||
			x[4] > least || x[5] > least || x[6] > least || x[7] > least) {
			continue
		}
		for j, x := range x {
			insert(i+j, x)
		}
	}
	for j, x := range logits[i:] {
		insert(i+j, x)
	}
	return dst
}

// pickFew picks from the k best tokens alone.
func (h *histogram) pickFew(logits []float32, p Params, u float64) int32 {
	h.last = best(h.last[:0], logits, p.TopK)
	kept, top, mass := h.last, h.last[0].logit, 0.0
	for i := range kept {
		kept[i].weight = math.Exp(float64(kept[i].logit-top) / p.Temperature)
		mass += kept[i].weight
	}
	if p.TopP > 0 && p.TopP < 1 {
		kept = kept[:reach(kept, p.TopP*mass)]
	}
	least := math.Min(p.MinP, 1)
	n, _ := slices.BinarySearchFunc(kept, least, func(t token, least float64) int {
		if t.weight >= least {
			return -1
		}
		return 1
	})
	return pickOf(kept[:n], u*sum(kept[:n]))
}

// reach returns how many tokens it takes for their weights to become want, at least one.
func reach(kept []token, want float64) int {
	n := 1
	for mass := kept[0].weight; mass < want && n < len(kept); n++ {
		mass += kept[n].weight
	}
	return n
}

func sum(kept []token) (mass float64) {
	for _, t := range kept {
		mass += t.weight
	}
	return mass
}

// pickOf returns the token at a point of the weights. Rounding may leave the point beyond them
// all, and then it is the last one's that has any.
func pickOf(kept []token, point float64) int32 {
	picked := kept[0].id
	for _, t := range kept {
		if t.weight > 0 {
			picked = t.id
		}
		if point -= t.weight; point < 0 {
			break
		}
	}
	return picked
}

func byLogit(a, b token) int {
	return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.id, b.id))
}
