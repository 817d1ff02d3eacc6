package main

import "sort"

// service is what things take in one pod, in seconds, as measured with one.
type service struct {
	// A step reads rows: one token of each answer that it carries on, and tokens of prompts.
	Rows []int     `json:"step_rows"`
	Step []float64 `json:"step_seconds"` // of so many rows, one of which makes a token, at the beginning of a text

	Sample   float64 `json:"seconds_of_each_further_token_made"`
	Position float64 `json:"seconds_of_an_answers_row_for_each_token_before_it"`
	Reading  float64 `json:"seconds_of_a_prompts_row_for_each_token_before_it"`
	Request  float64 `json:"seconds_of_a_request_outside_of_steps"`
	Restore  float64 `json:"seconds_to_restore_a_block_from_disk"`
	Persist  float64 `json:"seconds_to_write_a_block_to_disk"`

	// Slower is how many times as long a step takes while 0, 1, 2 other pods of the same
	// machine compute.
	Slower []float64 `json:"times_as_long_beside_computing_pods"`
}

// batch is what a step computes.
type batch struct {
	rows, decoding, sampled int
	before, reading         int // tokens before each row of an answer, and of a prompt, added up
}

// step is how long one takes. Products are rounded before they are added up, so that no
// CPU's fused operations change what is predicted.
func (s *service) step(b batch) float64 {
	return s.read(b.rows) + float64(s.Sample*float64(max(0, b.sampled-1))) + float64(s.Position*float64(b.before)) + float64(s.Reading*float64(b.reading))
}

// read interpolates, and goes on with the last slope beyond what was measured.
func (s *service) read(rows int) float64 {
	at := min(max(sort.SearchInts(s.Rows, rows), 1), len(s.Rows)-1)
	low, high := s.Rows[at-1], s.Rows[at]
	slope := (s.Step[at] - s.Step[at-1]) / float64(high-low)
	return s.Step[at-1] + float64(slope*float64(rows-low))
}

// slower is the factor beside so many others.
func (s *service) slower(others int) float64 {
	if len(s.Slower) == 0 {
		return 1
	}
	return s.Slower[min(others, len(s.Slower)-1)]
}
