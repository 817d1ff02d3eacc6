// Package e2e drives the whole pod from outside: the real binary, real processes,
// the default model, real sockets and the vendors' own clients.
//
// Read: main_test (what must be there, and the pod that reading tests share),
// process_test (one run of the binary), pod_test (one pod's life), client_test
// (requests and streams), metrics_test and logs_test (what a pod tells about
// itself); then the behaviours: chat, sdk, batch, health, death, stop, leave, start,
// settings, sockets, refusal, access, rotation, chaos; and with monitor_test (Prometheus,
// Alertmanager and a receiver) deploy, systemd, drill, doctor, runbook.
package e2e
