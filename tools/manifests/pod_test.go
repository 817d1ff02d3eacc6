package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// pod returns the template of a variant's workload, and its file of settings.
func pod(t *testing.T, v variant) (p core.PodTemplateSpec, settings string) {
	t.Helper()
	for _, o := range objects(t, v) {
		switch o := o.(type) {
		case *apps.Deployment:
			p = o.Spec.Template
		case *apps.StatefulSet:
			p = o.Spec.Template
		case *core.ConfigMap:
			settings = o.Data["semantic.yaml"]
		}
	}
	return p, settings
}

// The judge is the code of the admission controller itself. The dev variant alone takes
// its model from a folder of the node, which the level forbids.
func TestPodsMeetTheRestrictedLevel(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, v := range variants {
		if strings.HasPrefix(v.name, "dev") {
			v.args = append(slices.Clone(v.args), "--set", "model.hostPath=,model.existingClaim=models")
		}
		p, _ := pod(t, v)
		verdict := policy.AggregateCheckResults(judge.EvaluatePod(level, &p.ObjectMeta, &p.Spec))
		if !verdict.Allowed {
			t.Errorf("%s: %s", v.name, verdict.ForbiddenDetail())
		}
	}
	p, _ := pod(t, variants[0])
	p.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	if policy.AggregateCheckResults(judge.EvaluatePod(level, &p.ObjectMeta, &p.Spec)).Allowed {
		t.Error("the judge allows what it should not")
	}
}

func TestOrderOfStartAndStop(t *testing.T) {
	names := func(list []core.Container) (out []string) {
		for _, c := range list {
			name := c.Name
			if c.RestartPolicy != nil {
				name += " " + string(*c.RestartPolicy)
			}
			out = append(out, name)
		}
		return out
	}
	p, _ := pod(t, variants[0])
	if got := names(p.Spec.InitContainers); !slices.Equal(got, []string{"sidecar Always", "engine Always"}) {
		t.Errorf("native sidecars: %v", got)
	}
	if got := names(p.Spec.Containers); !slices.Equal(got, []string{"proxy"}) {
		t.Errorf("containers: %v", got)
	}
	p, _ = pod(t, variants[2])
	if len(p.Spec.InitContainers) != 0 || !slices.Equal(names(p.Spec.Containers), []string{"proxy", "engine", "sidecar"}) {
		t.Errorf("without native sidecars: %v, %v", names(p.Spec.InitContainers), names(p.Spec.Containers))
	}
}

// The kubelet's grace is no shorter than what the processes take one after the other.
func TestGracePeriodHoldsTheBudgets(t *testing.T) {
	for _, v := range variants {
		p, text := pod(t, v)
		settings := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &settings); err != nil {
			t.Fatal(err)
		}
		seconds := func(name string) time.Duration {
			d, err := time.ParseDuration(settings[name].(string))
			if err != nil {
				t.Errorf("%s: %s: %v", v.name, name, err)
			}
			return d
		}
		parts := seconds("drain-delay") + seconds("drain-timeout") + seconds("persist-timeout")
		grace := time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second
		if stop := seconds("stop-timeout"); parts == 0 || parts >= stop || stop >= grace {
			t.Errorf("%s: the parts take %s, --stop-timeout is %s, the grace period %s", v.name, parts, stop, grace)
		}
	}
}

// Every setting of the file is one of ours: a misspelt one ends the start.
func TestSettingsAreTaken(t *testing.T) {
	for _, v := range variants {
		_, text := pod(t, v)
		if strings.Contains(text, "model: /models/") { // which is not on this machine
			model := filepath.Join(t.TempDir(), "model.gguf")
			if err := os.WriteFile(model, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			text = strings.Replace(text, "model: /models/smollm2-135m-instruct-q4_1.gguf", "model: "+model, 1)
		}
		processes := []string{"proxy", "sidecar", "engine"}
		if strings.Contains(text, "model: /data/") || strings.Contains(text, "upstream-key-file") {
			processes = processes[:2] // the engine's files are not here
		}
		path := filepath.Join(t.TempDir(), "semantic.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, process := range processes {
			cmd := exec.Command(abs(t, binary), process, "--config", path, "--data-dir", t.TempDir(), "--print-config")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", v.name, process, err, out)
			}
		}
	}
}

func TestMemoryLimitOfGoFollowsTheContainers(t *testing.T) {
	p, _ := pod(t, variants[0])
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		limit := c.Resources.Limits.Memory().Value() >> 20
		found := ""
		for _, e := range c.Env {
			if e.Name == "GOMEMLIMIT" {
				found = e.Value
			}
		}
		if want := map[int64]string{512: "460MiB", 4096: "3686MiB", 256: "230MiB"}[limit]; want == "" || found != want {
			t.Errorf("%s: %d MiB, GOMEMLIMIT=%s", c.Name, limit, found)
		}
	}
}
