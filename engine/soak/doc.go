// Package soak holds the engine under a load of agents that come, leave, are evicted,
// cancelled, deleted and killed, for as long as it is told, and looks for what leaks and
// for answers that differ from those of a fresh engine.
//
// Read: soak_test (what is done and what must hold), talk_test (conversations and what
// becomes of their turns), process_test (engines as processes, and what they hold).
package soak
