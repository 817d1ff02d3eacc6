// Package manifests holds the Helm chart against what will read it: the types of
// Kubernetes and prometheus-operator, decoded strictly, so that a misspelt field fails;
// the Pod Security admission's own rules; helm's linter; checkov; and our own settings.
// It is a module of its own, since nobody else needs the modules of Kubernetes.
//
// Read: render_test (the chart with given values), strict_test, pod_test, judges_test.
package manifests
