package dialect

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Object is a JSON object. A null counts as absent, as it does for the vendors;
// of a name given twice the last one counts.
type Object struct {
	Value
	fields map[string]json.RawMessage
}

// Object reads an object.
func (v Value) Object() Object {
	o := Object{Value: v}
	if v.is(KindObject) {
		_ = json.Unmarshal(v.raw, &o.fields) // it was parsed before: cannot fail
	}
	return o
}

// Get returns the field of that name, if it is there and not null.
func (o Object) Get(name string) (Value, bool) {
	raw, ok := o.fields[name]
	v := Value{raw: raw, param: o.child(name), fault: o.fault}
	return v, ok && v.Kind() != KindNull
}

// Any is Get for fields that may be null.
func (o Object) Any(name string) (Value, bool) {
	raw, ok := o.fields[name]
	return Value{raw: raw, param: o.child(name), fault: o.fault}, ok
}

// Order returns the names of the fields in the order in which the body has them.
func (o Object) Order() []string {
	var names []string
	d := json.NewDecoder(bytes.NewReader(o.raw))
	if _, err := d.Token(); err != nil { // the brace; it was parsed before, so that nothing here fails
		return nil
	}
	for d.More() {
		name, _ := d.Token()
		var value json.RawMessage
		if s, ok := name.(string); ok && d.Decode(&value) == nil && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names
}

// Need returns the field of that name, or notes that it is missing.
func (o Object) Need(name string) (Value, bool) {
	v, ok := o.Get(name)
	if !ok {
		v.Fail(CodeMissing, "%s is missing", v.param)
	}
	return v, ok
}

// Names returns the names of the fields in alphabetical order.
func (o Object) Names() []string { return slices.Sorted(maps.Keys(o.fields)) }

// Allow notes every field that is not among those named as unknown.
func (o Object) Allow(names ...string) {
	for _, name := range o.Names() {
		if !slices.Contains(names, name) {
			o.Unknown(name)
		}
	}
}

// Unknown notes that the API has no field of that name.
func (o Object) Unknown(name string) {
	v := Value{param: o.child(clip(name)), fault: o.fault}
	v.Fail(CodeUnknown, "unknown parameter: %s", v.param)
}

func (o Object) child(name string) string {
	if o.param == "" {
		return name
	}
	return o.param + "." + name
}
