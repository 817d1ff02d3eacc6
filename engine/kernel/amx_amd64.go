package kernel

// amx returns the kernels of CPUs that multiply tiles; few columns do not fill one.
func amx() *Variant {
	v := vnni()
	v.Name = "amx"
	v.muls[formatU4] = append(v.muls[formatU4], mul{columns: 16, run: mulU4AMX, many: true})
	v.muls[formatS8] = append(v.muls[formatS8], mul{columns: 16, run: mulS8AMX, many: true})
	return v
}

//go:noescape
func mulU4AMX(t *tile)

//go:noescape
func mulS8AMX(t *tile)
