package sample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var nan, inf = float32(math.NaN()), float32(math.Inf(1))

// expected is the distribution that the parameters ask for, by sorting everything.
func expected(logits []float32, p Params) []float64 {
	type entry struct {
		id int
		p  float64
	}
	var all []entry
	top := math.Inf(-1)
	for _, x := range logits {
		if x == x {
			top = max(top, float64(x))
		}
	}
	for i, x := range logits {
		if x == x {
			all = append(all, entry{i, math.Exp((float64(x) - top) / p.Temperature)})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		switch {
		case a.p > b.p:
			return -1
		case a.p < b.p:
			return 1
		}
		return 0
	})
	if p.TopK > 0 && p.TopK < len(all) {
		all = all[:p.TopK]
	}
	total := 0.0
	for _, e := range all {
		total += e.p
	}
	if p.TopP > 0 && p.TopP < 1 {
		sum := 0.0
		for i, e := range all {
			if sum += e.p; sum >= p.TopP*total {
				all = all[:i+1]
				break
			}
		}
	}
	all = slices.DeleteFunc(all, func(e entry) bool { return e.p < p.MinP })
	total = 0
	for _, e := range all {
		total += e.p
	}
	out := make([]float64, len(logits))
	for _, e := range all {
		out[e.id] = e.p / total
	}
	return out
}

// spread returns logits like a model's: a few probable tokens and a long tail.
func spread(n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64()*2.5 + 4)
	}
	return out
}

func TestDrawsFollowTheDistribution(t *testing.T) {
	draws := 20000.0
	if raceEnabled { // slow, and one goroutine
		draws = 1000
	}
	for _, p := range []Params{
		{Temperature: 1}, {Temperature: 0.5}, {Temperature: 2}, {Temperature: 0.05},
		{Temperature: 1, TopK: 5}, {Temperature: 1, TopK: 40}, {Temperature: 1.5, TopK: 1000}, {Temperature: 1, TopK: 280}, {Temperature: 2, TopK: 270, TopP: 0.9, MinP: 0.01},
		{Temperature: 1, TopP: 0.9}, {Temperature: 1, TopP: 0.1}, {Temperature: 1, TopP: 0.999},
		{Temperature: 1, MinP: 0.1}, {Temperature: 1, MinP: 1}, {Temperature: 1, MinP: 0.001},
		{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05}, {Temperature: 3, TopK: 10, TopP: 0.5},
	} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			logits := spread(300, 5)
			logits[7], logits[8], logits[90] = logits[6], logits[6], logits[6] // equals share a bucket
			want := expected(logits, p)
			p.Seed = 42
			s := New(p)
			got := make([]int, len(logits))
			for range int(draws) {
				got[s.Next(logits)]++
			}
			chi, cells := 0.0, 0
			rareGot, rareWant := 0.0, 0.0
			for i, w := range want {
				w *= draws
				switch {
				case w == 0 && got[i] > 0:
					t.Errorf("token %d was cut away, and picked %d times", i, got[i])
				case w < 5: // too rare for the test's own approximation, unless taken together
					rareGot, rareWant = rareGot+float64(got[i]), rareWant+w
				default:
					chi += (float64(got[i]) - w) * (float64(got[i]) - w) / w
					cells++
				}
			}
			if rareWant >= 5 {
				chi += (rareGot - rareWant) * (rareGot - rareWant) / rareWant
				cells++
			}
			// Five standard deviations of the chi-square distribution.
			degrees := float64(max(cells-1, 0))
			if limit := degrees + 5*math.Sqrt(2*degrees) + 0.1; chi > limit {
				t.Errorf("chi-square %.1f over %d cells, limit %.1f", chi, cells, limit)
			}
		})
	}
}

func TestCutsKeepExactlyTheRightTokens(t *testing.T) {
	logits := spread(5000, 9)
	for i := range 50 {
		logits[i*7] = logits[3] // many equals, of which the lowest ids are kept
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		p := Params{Temperature: 0.1 + 3*rng.Float64()}
		if rng.IntN(2) == 0 {
			p.TopK = 2 + rng.IntN(3000)
		}
		if rng.IntN(2) == 0 {
			p.TopP = rng.Float64()
		}
		if rng.IntN(2) == 0 {
			p.MinP = math.Pow(rng.Float64(), 3)
		}
		h := new(histogram)
		h.fill(logits, logits[argmax(logits)], p.Temperature)
		c := h.everything()
		if p.TopK > 0 {
			c = h.keepCount(logits, c, p.TopK)
		}
		if p.TopP > 0 {
			c = h.keepMass(logits, c, p.TopP)
		}
		if p.MinP > 0 {
			c = h.keepWeight(logits, c, p.MinP)
		}
		kept := c.tokens
		for _, x := range logits {
			if d := (h.top - x) * h.scale; d < float32(c.bucket) {
				kept++
			}
		}
		probabilities := expected(logits, p)
		want, least := 0, slices.Max(probabilities)*math.Exp(-buckets/resolution)
		for _, q := range probabilities {
			if q > least {
				want++
			}
		}
		if abs(kept-want) > 1 { // a share may fall on either side of a token by rounding
			t.Errorf("%+v keeps %d tokens, want %d", p, kept, want)
		}
	}
}

func abs(n int) int { return max(n, -n) }

func TestGreedyTakesTheFirstOfTheBest(t *testing.T) {
	for _, c := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{1, 3, 2}, 1},
		{[]float32{1, 3, 3}, 1},
		{[]float32{nan, -5, nan, -4}, 3},
		{[]float32{-inf, -inf, -7}, 2},
		{[]float32{nan, -inf, nan}, 1},
		{[]float32{nan, nan}, 0},
		{[]float32{0, inf, inf}, 1},
	} {
		for _, p := range []Params{{}, {TopP: 0.5, TopK: 3}, {Temperature: 1, TopK: 1}} {
			if got := New(p).Next(c.logits); got != c.want {
				t.Errorf("%+v of %v is token %d, want %d", p, c.logits, got, c.want)
			}
		}
	}
}

func TestLogitsThatAreNoNumbersAreNeverPicked(t *testing.T) {
	for _, p := range []Params{{Temperature: 1}, {Temperature: 1e-300}, {Temperature: 5, TopK: 3}, {Temperature: 2, TopP: 0.99}, {Temperature: 1, MinP: 0.01}} {
		s := New(p)
		for range 500 {
			if got := s.Next([]float32{nan, 1, -inf, 2, nan, 1.5}); got != 1 && got != 3 && got != 5 {
				t.Fatalf("%+v picked token %d", p, got)
			}
			if got := s.Next([]float32{nan, -inf, nan, -inf}); got != 1 {
				t.Fatalf("%+v picked token %d where nothing is possible", p, got)
			}
			if got := s.Next([]float32{0, inf, 3}); got != 1 {
				t.Fatalf("%+v picked token %d beside an infinite one", p, got)
			}
		}
	}
}

func TestASeedRepeatsItsPicks(t *testing.T) {
	logits := spread(1000, 3)
	draw := func(seed uint64) (out []int32) {
		s := New(Params{Temperature: 1, TopP: 0.95, Seed: seed})
		for range 200 {
			out = append(out, s.Next(logits))
		}
		return out
	}
	if !slices.Equal(draw(7), draw(7)) {
		t.Error("the same seed picked other tokens")
	}
	if slices.Equal(draw(7), draw(8)) {
		t.Error("another seed picked the same tokens")
	}
}

func TestAPickAllocatesNothing(t *testing.T) {
	logits := spread(49152, 1)
	for _, p := range []Params{{}, {Temperature: 1}, {Temperature: 1, TopK: 40, TopP: 0.9, MinP: 0.05}} {
		s := New(p)
		s.Next(logits)
		if n := testing.AllocsPerRun(50, func() { s.Next(logits) }); n >= 1 && !raceEnabled {
			t.Errorf("%+v: %v allocations a token", p, n)
		}
	}
}

func TestLogprobsAreTheModelsOwn(t *testing.T) {
	logits := spread(2000, 4)
	logits[5], logits[6] = nan, logits[77]
	sum := 0.0
	for _, x := range logits {
		if x == x {
			sum += math.Exp(float64(x))
		}
	}
	chosen, top := Logprobs(nil, logits, 77, 20)
	if want := float64(logits[77]) - math.Log(sum); math.Abs(chosen.Logprob-want) > 1e-6 || chosen.Token != 77 {
		t.Errorf("chosen %v, want %v", chosen, want)
	}
	type entry struct {
		id int32
		x  float32
	}
	var sorted []entry
	for i, x := range logits {
		if x == x {
			sorted = append(sorted, entry{int32(i), x})
		}
	}
	slices.SortStableFunc(sorted, func(a, b entry) int {
		if a.x > b.x {
			return -1
		}
		if a.x < b.x {
			return 1
		}
		return 0
	})
	if len(top) != 20 {
		t.Fatalf("%d tokens", len(top))
	}
	for i, l := range top {
		if want := float64(sorted[i].x) - math.Log(sum); l.Token != sorted[i].id || math.Abs(l.Logprob-want) > 1e-6 {
			t.Errorf("place %d is %v, want %v %v", i, l, sorted[i].id, want)
		}
	}
	if _, none := Logprobs(nil, logits, 0, 0); len(none) != 0 {
		t.Errorf("asked for none, got %v", none)
	}
}

func BenchmarkNext(b *testing.B) {
	logits := spread(49152, 1)
	for _, p := range []Params{
		{}, {Temperature: 1}, {Temperature: 1, TopP: 0.95}, {Temperature: 1, TopK: 40}, {Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05},
	} {
		b.Run(fmt.Sprintf("%+v", p), func(b *testing.B) {
			s := New(p)
			b.ReportAllocs()
			for b.Loop() {
				s.Next(logits)
			}
		})
	}
}

func BenchmarkLogprobs(b *testing.B) {
	logits := spread(49152, 1)
	dst := make([]Logprob, 0, 20)
	for b.Loop() {
		Logprobs(dst, logits, 7, 20)
	}
}
