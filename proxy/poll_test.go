package proxy

import "testing"

// Memory is collected once after a crowd, not for each of those who come and go.
func TestACrowdLeavesOnce(t *testing.T) {
	var c throng
	for i, step := range []struct {
		open int
		left bool
	}{
		{0, false}, {400, false}, {0, false}, // no crowd
		{5000, false}, {4000, false}, {2600, false}, {2500, true}, {2500, false}, {2100, false},
		{1900, false}, {1250, true}, {1000, false}, {0, true}, {0, false}, {499, false}, {0, false}, {500, false}, {0, true},
	} {
		if left := c.hasLeft(step.open); left != step.left {
			t.Errorf("step %d, %d open: left is %v", i, step.open, left)
		}
	}
}
