package sbom

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func describe(t *testing.T) (*cdx.BOM, Build) {
	t.Helper()
	b := Build{Version: "1.2.3+meta", Commit: "0123456789abcdef", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Go: "go1.26.8", OS: "linux", Arch: "amd64"}
	bom, err := Describe(b)
	if err != nil {
		t.Fatal(err)
	}
	return bom, b
}

// modulesOf are those that a binary would name which is what the list says.
func modulesOf(bom *cdx.BOM) []Linked {
	var out []Linked
	for i := range *bom.Components {
		if c := &(*bom.Components)[i]; IsModule(c) && c.Name != stdName {
			out = append(out, Linked{Path: c.Name, Version: c.Version, Sum: Property(c, PropertyH1)})
		}
	}
	return out
}

func TestCompareNamesEachDifference(t *testing.T) {
	bom, b := describe(t)
	same := modulesOf(bom)
	if len(same) < 10 {
		t.Fatalf("the list has only %d modules", len(same))
	}
	changed := func(change func(m *Linked)) []Linked {
		out := slices.Clone(same)
		change(&out[0])
		return out
	}
	name := same[0].Path
	for _, c := range []struct {
		what    string
		release string
		modules []Linked
		want    []string
	}{
		{"the same", b.Go, same, nil},
		{"another order", b.Go, func() []Linked { out := slices.Clone(same); slices.Reverse(out); return out }(), nil},
		{"no checksum in the record", b.Go, changed(func(m *Linked) { m.Sum = "" }), nil},
		{"one more", b.Go, append(slices.Clone(same), Linked{Path: "example.org/x", Version: "v1.0.0"}), []string{"example.org/x@v1.0.0 is linked and not in the SBOM"}},
		{"one less", b.Go, same[1:], []string{name + "@" + same[0].Version + " is in the SBOM and not linked"}},
		{"another version", b.Go, changed(func(m *Linked) { m.Version = "v0.0.1" }), []string{name + " is linked at v0.0.1"}},
		{"another checksum", b.Go, changed(func(m *Linked) { m.Sum = "h1:other" }), []string{"linked with the checksum h1:other"}},
		{"another Go", "go1.99.0", same, []string{"std is linked at 1.99.0, the SBOM says 1.26.8"}},
	} {
		got := Compare(bom, c.release, c.modules)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q, expected %q", c.what, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: %q, expected %q", c.what, got[i], c.want[i])
			}
		}
	}
}

// TestCompareLooksAtModulesAlone: what the linker does not record, it cannot miss.
func TestCompareLooksAtModulesAlone(t *testing.T) {
	bom, b := describe(t)
	others := map[string]int{}
	for i := range *bom.Components {
		if c := &(*bom.Components)[i]; !IsModule(c) {
			others[strings.SplitN(c.PackageURL, "/", 2)[0]]++
		}
	}
	if others["pkg:npm"] < 2 || others["pkg:generic"] != 2 {
		t.Fatalf("beside the modules the list holds %v", others)
	}
	if diff := Compare(bom, b.Go, modulesOf(bom)); len(diff) > 0 {
		t.Errorf("they count as a difference: %q", diff)
	}
	if diff := Compare(bom, b.Go, append(modulesOf(bom), Linked{Path: "preact", Version: "10.29.2"})); len(diff) != 1 {
		t.Errorf("a module with the name of an npm package was taken for it: %q", diff)
	}
}

func TestAffectedAnswersForEveryKind(t *testing.T) {
	bom, _ := describe(t)
	preact := find(t, bom, "preact")
	for _, c := range []struct{ purl, want string }{ // want: the component's name, "" for none, or the error
		{preact.PackageURL, "preact"},
		{"pkg:npm/preact", "preact"},
		{"pkg:npm/preact@10.0.0", ""},
		{"pkg:golang/preact", ""},
		{"pkg:generic/" + BuiltinName, BuiltinName},
		{"pkg:generic/" + BuiltinName + "@0.0.1", ""},
		{"pkg:pypi/preact", "npm packages (pkg:npm)"},
	} {
		found, err := Affected(bom, c.purl)
		switch {
		case err != nil:
			if c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.purl, err)
			}
		case len(found) != min(1, len(c.want)) || len(found) > 0 && found[0].Name != c.want:
			t.Errorf("%s: %v, expected %q", c.purl, found, c.want)
		}
	}
}

func find(t *testing.T, bom *cdx.BOM, name string) *cdx.Component {
	t.Helper()
	for i := range *bom.Components {
		if c := &(*bom.Components)[i]; c.Name == name {
			return c
		}
	}
	t.Fatalf("%s is not in the list", name)
	return nil
}

func TestLinkedModulesFollowReplacements(t *testing.T) {
	got := LinkedModules(&debug.BuildInfo{Deps: []*debug.Module{
		{Path: "example.org/a", Version: "v1.0.0", Sum: "h1:a"},
		{Path: "example.org/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/fork", Version: "v2.0.0", Sum: "h1:fork"}},
	}})
	want := []Linked{{"example.org/a", "v1.0.0", "h1:a"}, {"example.org/fork", "v2.0.0", "h1:fork"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

// TestSPDXSaysWhatCycloneDXSays converts the list and holds every package and relationship
// against it.
func TestSPDXSaysWhatCycloneDXSays(t *testing.T) {
	bom, _ := describe(t)
	b, err := Encode(bom, SPDX)
	if err != nil {
		t.Fatal(err)
	}
	var doc spdxDocument
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != "SPDX-2.3" || doc.DataLicence != "CC0-1.0" || doc.Creation.Created != "2026-01-02T03:04:05Z" || len(doc.Creation.Creators) == 0 {
		t.Errorf("the head is %+v", doc.Creation)
	}
	if !strings.HasPrefix(doc.Namespace, "https://") || !strings.Contains(doc.Namespace, strings.TrimPrefix(bom.SerialNumber, "urn:uuid:")) {
		t.Errorf("the namespace is %s", doc.Namespace)
	}
	packages := map[string]spdxPackage{}
	for _, p := range doc.Packages {
		if _, twice := packages[p.ID]; twice {
			t.Errorf("two packages are %s", p.ID)
		}
		packages[p.ID] = p
	}
	all := append([]cdx.Component{*bom.Metadata.Component}, *bom.Components...)
	if len(packages) != len(all) {
		t.Errorf("%d packages of %d components", len(packages), len(all))
	}
	for i := range all {
		holdPackage(t, packages[spdxID(all[i].BOMRef)], &all[i])
	}
	if !slices.Equal(doc.Describes, []string{spdxID(bom.Metadata.Component.BOMRef)}) {
		t.Errorf("it describes %v", doc.Describes)
	}
	edges := 0
	for _, d := range *bom.Dependencies {
		if d.Dependencies != nil {
			edges += len(*d.Dependencies)
		}
	}
	for _, r := range doc.Relationships {
		_, from := packages[r.From]
		_, to := packages[r.To]
		if !from && r.From != spdxDocumentID || !to && r.To != "NONE" {
			t.Errorf("%+v names no package", r)
		}
		if r.Type == "DEPENDS_ON" && to {
			edges--
		}
	}
	if edges != 0 {
		t.Errorf("%d dependencies are missing", edges)
	}
}

func holdPackage(t *testing.T, p spdxPackage, c *cdx.Component) {
	t.Helper()
	if p.Name != c.Name || p.Version != c.Version || p.Declared != Expression(c) || p.Supplier != "Organization: "+c.Supplier.Name {
		t.Errorf("%s became %+v", c.BOMRef, p)
	}
	purl := func(r spdxReference) bool { return r.Type == "purl" && r.Locator == c.PackageURL }
	if !slices.ContainsFunc(p.Refs, purl) {
		t.Errorf("%s has lost its package URL: %v", c.BOMRef, p.Refs)
	}
	if h1 := Property(c, PropertyH1); !strings.Contains(p.Comment, h1) {
		t.Errorf("%s has lost its Go checksum %s: %s", c.BOMRef, h1, p.Comment)
	}
	hashes := 0
	if c.Hashes != nil {
		hashes = len(*c.Hashes)
	}
	if len(p.Checksums) != hashes {
		t.Errorf("%s has %d checksums of %d", c.BOMRef, len(p.Checksums), hashes)
	}
	for _, sum := range p.Checksums {
		if !slices.Contains([]string{"SHA256", "SHA512"}, sum.Algorithm) {
			t.Errorf("%s: SPDX has no algorithm %s", c.BOMRef, sum.Algorithm)
		}
	}
}

// TestGraphReachesEveryComponent: each has an entry, leads to components alone, is reached
// from the whole, and is said to be complete or unknown in what it leans on.
func TestGraphReachesEveryComponent(t *testing.T) {
	bom, _ := describe(t)
	edges := map[string][]string{}
	for _, d := range *bom.Dependencies {
		if _, twice := edges[d.Ref]; twice {
			t.Errorf("%s has two entries", d.Ref)
		}
		edges[d.Ref] = nil
		if d.Dependencies != nil {
			edges[d.Ref] = *d.Dependencies
		}
	}
	told := map[string]cdx.CompositionAggregate{}
	for _, c := range *bom.Compositions {
		if c.Dependencies == nil {
			continue
		}
		for _, ref := range *c.Dependencies {
			if told[string(ref)] != "" {
				t.Errorf("%s is told of twice", ref)
			}
			told[string(ref)] = c.Aggregate
		}
	}
	whole := bom.Metadata.Component.BOMRef
	reached := map[string]bool{whole: true}
	for next := []string{whole}; len(next) > 0; next = next[1:] {
		for _, ref := range edges[next[0]] {
			if !reached[ref] {
				next = append(next, ref)
			}
			reached[ref] = true
		}
	}
	all := map[string]bool{whole: true}
	for _, c := range *bom.Components {
		all[c.BOMRef] = true
	}
	for ref := range all {
		if _, has := edges[ref]; !has || !reached[ref] || told[ref] == "" {
			t.Errorf("%s: entry %t, reached %t, told %q", ref, has, reached[ref], told[ref])
		}
	}
	for ref := range reached {
		if !all[ref] {
			t.Errorf("%s is leant on and no component", ref)
		}
	}
}

func TestEncodingsAreReadBackTheSame(t *testing.T) {
	bom, b := describe(t)
	for _, form := range []Form{JSON, XML} {
		text, err := Encode(bom, form)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if back.SerialNumber != bom.SerialNumber || len(Compare(back, b.Go, modulesOf(bom))) > 0 {
			t.Errorf("%s changed the list", form)
		}
	}
	for _, bad := range []string{"", "{}", "<bom", `{"bomFormat":"CycloneDX","specVersion":"1.6"}`, strings.Repeat(" ", maxSBOM+1)} {
		if _, err := Decode(strings.NewReader(bad)); err == nil {
			t.Errorf("%.20q was taken for an SBOM", bad)
		}
	}
	if _, err := Encode(bom, "yaml"); err == nil {
		t.Error("there is no form yaml")
	}
}

// TestSerialNumberFollowsFromWhatIsBuilt: the same build has the same; any other, another.
func TestSerialNumberFollowsFromWhatIsBuilt(t *testing.T) {
	bom, b := describe(t)
	again, _ := describe(t)
	if bom.SerialNumber != again.SerialNumber {
		t.Error("one build has two serial numbers")
	}
	if uuid := strings.TrimPrefix(bom.SerialNumber, "urn:uuid:"); len(uuid) != 36 || uuid[14] != '5' {
		t.Errorf("%s is no UUIDv5", bom.SerialNumber)
	}
	for _, change := range []func(b *Build){
		func(b *Build) { b.Commit = "fedcba" }, func(b *Build) { b.Arch = "arm64" }, func(b *Build) { b.Modified = true },
		func(b *Build) { b.Version = "1.2.4" }, func(b *Build) { b.Go = "go1.26.9" },
	} {
		other := b
		change(&other)
		list, err := Describe(other)
		if err != nil {
			t.Fatal(err)
		}
		if list.SerialNumber == bom.SerialNumber {
			t.Errorf("%+v has the serial number of %+v", other, b)
		}
	}
}
