package main

// keep makes the full blocks of a turn the agent's.
func (p *simPod) keep(s *sequence) {
	a := p.agents[s.conversation]
	if a == nil {
		a = &agent{id: s.conversation}
		a.place = p.recency.PushFront(a)
		p.agents[a.id] = a
	}
	p.recency.MoveToFront(a.place)
	kept := s.chain.Keep(s.sealed)
	a.chain.Release()
	a.chain = kept
	a.version++
	a.dirty = s.sealed > 0
}

// room makes so many blocks free by evicting agents that the disk has.
func (p *simPod) room(blocks int) bool {
	for p.pool.Free() < blocks {
		if !p.evictOldest() {
			p.writeBack(blocks)
			return false
		}
	}
	return true
}

func (p *simPod) evictOldest() bool {
	for place := p.recency.Back(); place != nil; place = place.Prev() {
		a := place.Value.(*agent)
		if len(a.chain.Blocks()) > 0 && !a.dirty && !a.writing {
			a.chain.Release()
			delete(p.agents, a.id)
			p.recency.Remove(a.place)
			return true
		}
	}
	return false
}

func (p *simPod) writeAhead() {
	if reserve := p.pool.Total() / behind; p.pool.Free() < reserve {
		p.writeBack(reserve)
	}
}

func (p *simPod) writeBack(blocks int) {
	have := p.pool.Free()
	for place := p.recency.Back(); place != nil; place = place.Prev() {
		a := place.Value.(*agent)
		if len(a.chain.Blocks()) == 0 {
			continue
		}
		if have >= blocks || a.dirty && !a.writing && !p.write(a) {
			return
		}
		have += len(a.chain.Blocks())
	}
}

// write gives an agent to the writer.
func (p *simPod) write(a *agent) bool {
	if len(p.writes) >= writeDepth {
		return false
	}
	blocks, version := len(a.chain.Blocks()), a.version
	held := a.chain.Keep(blocks)
	a.writing = true
	p.writes = append(p.writes, func() {
		p.after(p.service.Persist*float64(blocks), func() {
			p.disk[a.id] = blocks
			p.writer--
			p.pump()
			p.post(func() {
				held.Release()
				a.writing = false
				if a.version == version {
					a.dirty = false
				}
			})
		})
	})
	p.pump()
	return true
}

// fetch lets a loader read what the disk has beyond what was adopted.
func (p *simPod) fetch(s *sequence) bool {
	most := (s.tokens - 1) / p.shape.BlockToken
	if s.admitted || s.sealed == most || p.disk[s.conversation] <= s.sealed {
		return false
	}
	p.restoring++
	p.loads = append(p.loads, func() {
		blocks := min(most, p.disk[s.conversation]) - s.sealed
		p.after(p.service.Restore*float64(blocks), func() {
			p.loading--
			p.pump()
			p.post(func() {
				p.restoring--
				s.computed += blocks * p.shape.BlockToken
				s.restored = blocks * p.shape.BlockToken
				p.seal(s)
				p.join(s)
			})
		})
	})
	p.pump()
	return true
}

// pump lets loaders and the writer take what waits.
func (p *simPod) pump() {
	for p.loading < loaders && len(p.loads) > 0 {
		load := p.loads[0]
		p.loads = p.loads[1:]
		p.loading++
		load()
	}
	if p.writer == 0 && len(p.writes) > 0 {
		write := p.writes[0]
		p.writes = p.writes[1:]
		p.writer++
		write()
	}
}
