package manifests

import (
	"fmt"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// inferencePool is the part that we use of inference.networking.k8s.io/v1, by its
// published schema: its module cannot be had.
type inferencePool struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		TargetPorts []struct {
			Number int32 `json:"number"`
		} `json:"targetPorts"`
		EndpointPickerRef struct {
			Name string `json:"name"`
			Port struct {
				Number int32 `json:"number"`
			} `json:"port"`
			FailureMode string `json:"failureMode"`
		} `json:"endpointPickerRef"`
	} `json:"spec"`
}

// types are those of the objects that we ship.
var types = map[string]func() any{
	"v1/Namespace":                                 func() any { return new(core.Namespace) },
	"v1/ServiceAccount":                            func() any { return new(core.ServiceAccount) },
	"v1/ConfigMap":                                 func() any { return new(core.ConfigMap) },
	"v1/Service":                                   func() any { return new(core.Service) },
	"v1/PersistentVolumeClaim":                     func() any { return new(core.PersistentVolumeClaim) },
	"apps/v1/Deployment":                           func() any { return new(apps.Deployment) },
	"apps/v1/StatefulSet":                          func() any { return new(apps.StatefulSet) },
	"policy/v1/PodDisruptionBudget":                func() any { return new(policy.PodDisruptionBudget) },
	"autoscaling/v2/HorizontalPodAutoscaler":       func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/NetworkPolicy":           func() any { return new(networking.NetworkPolicy) },
	"monitoring.coreos.com/v1/PodMonitor":          func() any { return new(monitoring.PodMonitor) },
	"monitoring.coreos.com/v1/PrometheusRule":      func() any { return new(monitoring.PrometheusRule) },
	"inference.networking.k8s.io/v1/InferencePool": func() any { return new(inferencePool) },
}

func decode(doc []byte) (any, error) {
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		return nil, err
	}
	name := kind.APIVersion + "/" + kind.Kind
	make, known := types[name]
	if !known {
		return nil, fmt.Errorf("there is no type for %s", name)
	}
	o := make()
	if err := yaml.UnmarshalStrict(doc, o); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return o, nil
}

func TestEveryVariantDecodesStrictly(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			workloads := 0
			for _, o := range objects(t, v) {
				seen[fmt.Sprintf("%T", o)] = true
				switch o.(type) {
				case *apps.Deployment, *apps.StatefulSet:
					workloads++
				}
			}
			if workloads != 1 {
				t.Errorf("%d workloads", workloads)
			}
		})
	}
	if len(seen) != len(types) {
		t.Errorf("the variants have objects of %d types, and not of %d: %v", len(seen), len(types), seen)
	}
}

// A misspelt field is seen, wherever it stands.
func TestMisspeltFieldsFail(t *testing.T) {
	text, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"readOnlyRootFilesystem", "terminationGracePeriodSeconds", "volumeClaimTemplates", "podMetricsEndpoints", "maxUnavailable", "policyTypes", "scaleTargetRef"} {
		failed := false
		for _, doc := range strings.Split(strings.ReplaceAll("\n"+text, field+":", field+"s:"), "\n---\n") {
			if len(strings.TrimSpace(string(withoutComments(doc)))) == 0 {
				continue
			}
			if _, err := decode([]byte(doc)); err != nil {
				failed = true
			}
		}
		if !failed {
			t.Errorf("%ss is decoded", field)
		}
	}
}

// Values that make no sense are refused when the chart is rendered, with what to do.
func TestSenselessValuesAreRefused(t *testing.T) {
	for set, want := range map[string]string{
		"kind=DaemonSet":                  "neither Deployment nor StatefulSet",
		"keys.secret=":                    "keys.insecureNoAuth=true",
		"model.existingClaim=":            "there is no model",
		"model.url=http://x/y":            "model.sha256",
		"kind=Deployment":                 "say kind=StatefulSet",
		"resources.engine.memoryLimit=4G": "say it in Mi or Gi",
	} {
		if _, err := render("--set", set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", set, err)
		}
	}
}
