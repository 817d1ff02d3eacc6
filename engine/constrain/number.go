package constrain

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// span is a range of decimal numbers. Its bounds are in units of the last place.
type span struct {
	whole, places int // digits before and after the point, at most; 18 together
	low, high     int64
	bounded       bool
}

var (
	anyInteger   = unbounded(17, 0)
	anyNumber    = unbounded(12, 6)
	finestNumber = unbounded(3, 15) // for bounds that no number with 6 places is between
)

func unbounded(whole, places int) span {
	most := power(whole+places) - 1
	return span{whole: whole, places: places, low: -most, high: most}
}

func power(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// bounded narrows a span to a schema's bounds, and says whether a number is left.
func bounded(o dialect.Object, s span) (span, bool) {
	for _, name := range numberWords {
		v, ok := o.Get(name)
		if !ok {
			continue
		}
		bound, ok := rational(v)
		if !ok {
			return s, true // a fault is noted
		}
		s.bounded = true
		exclusive := strings.HasPrefix(name, "exclusive")
		bound.Mul(bound, new(big.Rat).SetInt64(power(s.places)))
		floor := new(big.Int).Div(bound.Num(), bound.Denom())
		one := big.NewInt(1)
		if strings.HasSuffix(strings.ToLower(name), "minimum") {
			if exclusive || !bound.IsInt() {
				floor.Add(floor, one)
			}
			if floor.Cmp(big.NewInt(s.low)) > 0 {
				s.low = clamp(floor, s.high+1)
			}
			continue
		}
		if exclusive && bound.IsInt() {
			floor.Sub(floor, one)
		}
		if floor.Cmp(big.NewInt(s.high)) < 0 {
			s.high = -clamp(floor.Neg(floor), 1-s.low)
		}
	}
	return s, s.low <= s.high
}

// clamp returns n, or most if n is more.
func clamp(n *big.Int, most int64) int64 {
	if n.Cmp(big.NewInt(most)) > 0 {
		return most
	}
	return n.Int64()
}

// rational reads a bound exactly.
func rational(v dialect.Value) (*big.Rat, bool) {
	v.Float(-1e300, 1e300)
	if v.Err() != nil {
		return nil, false
	}
	written := string(v.Raw())
	mantissa, exponent, _ := strings.Cut(strings.ToLower(written), "e")
	n, _ := strconv.Atoi(exponent)
	if len(mantissa) > 64 || n > 300 || n < -300 {
		v.Fail(dialect.CodeInvalidValue, "%s has too many digits", v.Param())
		return nil, false
	}
	return new(big.Rat).SetString(written)
}

// The places in a number.
const (
	atStart uint8 = iota
	afterSign
	afterZero // a leading one: no digit may follow
	inWhole
	afterPoint
	inPlaces
)

// stepNumber reads a byte of a number. c.i and c.j count the digits before and after
// the point, c.n is what they say, c.minus the sign.
func (g *Grammar) stepNumber(c config, b byte, out []config) []config {
	s := &g.nodes[c.node].number
	switch {
	case b == '-' && c.phase == atStart:
		c.phase, c.minus = afterSign, true
		if s.low > 0 {
			return out
		}
		return append(out, c)
	case b == '.' && (c.phase == afterZero || c.phase == inWhole) && s.places > 0:
		c.phase = afterPoint
	case b >= '0' && b <= '9' && c.phase != afterZero:
		c.n = c.n*10 + int64(b-'0')
		switch {
		case c.phase >= afterPoint:
			c.phase = inPlaces
			c.j++
		case c.i == 0 && b == '0':
			c.phase = afterZero
			c.i++
		default:
			c.phase = inWhole
			c.i++
		}
	default:
		if s.ends(&c) {
			return g.resume(c, b, out)
		}
		return out
	}
	if int(c.i) > s.whole || int(c.j) > s.places || s.bounded && !s.reaches(&c) {
		return out
	}
	return append(out, c)
}

// ends says whether the number may end here.
func (s *span) ends(c *config) bool {
	if c.phase != afterZero && c.phase != inWhole && c.phase != inPlaces {
		return false
	}
	n := c.n * power(s.places-int(c.j))
	if c.minus {
		n = -n
	}
	return s.low <= n && n <= s.high
}

// reaches says whether more digits, or none, can bring the number into the span.
func (s *span) reaches(c *config) bool {
	more := 0
	if c.phase == inWhole {
		more = s.whole - int(c.i)
	}
	for k := 0; k <= more; k++ {
		unit := power(k + s.places - int(c.j))
		from, to := c.n*unit, (c.n+1)*unit-1
		if c.minus {
			from, to = -to, -from
		}
		if from <= s.high && s.low <= to {
			return true
		}
	}
	return false
}
