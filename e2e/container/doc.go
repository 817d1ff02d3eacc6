// Package container holds the image and the pod that is made of it against real
// containers: podman runs them as Kubernetes would, as root, from the chart's own
// rendering.
//
// Read: main_test (what must be there, and podman's configuration), image_test, reproducible_test, pod_test,
// drill_test (two pods behind a balancer, which are rolled and killed).
package container
