package main

import "container/heap"

// clock runs what is to happen, in order.
type clock struct {
	now    float64
	events events
	count  int
}

type event struct {
	at    float64
	order int // of two at the same time the one that was planned first
	run   func()
}

func (c *clock) at(at float64, run func()) {
	c.count++
	heap.Push(&c.events, event{max(at, c.now), c.count, run})
}

func (c *clock) after(seconds float64, run func()) { c.at(c.now+seconds, run) }

// run ends when nothing is left to happen.
func (c *clock) run() {
	for len(c.events) > 0 {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		e.run()
	}
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}
