package proxy

import "time"

// deadline is one that each request puts off and that is seldom reached. Setting it
// takes locks in the runtime, so a later one is only noted: when the one that was set
// passes, it is set anew to what was noted.
type deadline struct {
	wanted, set time.Time
}

// putOff notes the new deadline, and reports whether it must be set because it comes
// before the one that is.
func (d *deadline) putOff(t time.Time) bool {
	d.wanted = t
	if !d.set.IsZero() && !t.Before(d.set) {
		return false
	}
	d.set = t
	return true
}

// again reports, when the one that was set has passed, that more time was given
// since, so that it must be set anew.
func (d *deadline) again() bool {
	if !time.Now().Before(d.wanted) {
		return false
	}
	d.set = d.wanted
	return true
}
