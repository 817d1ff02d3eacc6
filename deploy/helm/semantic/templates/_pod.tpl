{{/* container: (dict "root" $ "name" "engine" "sidecar" true) */}}
{{- define "semantic.container" -}}
{{- $v := .root.Values }}{{ $r := index $v.resources .name -}}
name: {{ .name }}
image: {{ include "semantic.image" .root }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args: [{{ .name }}, --config=/etc/semantic/config/semantic.yaml]
{{- if .native }}
restartPolicy: Always
{{- end }}
env:
  - {name: GOMEMLIMIT, value: {{ include "semantic.gomemlimit" $r.memoryLimit }}}
  - {name: GOMAXPROCS, valueFrom: {resourceFieldRef: {containerName: {{ .name }}, resource: limits.cpu, divisor: "1"}}}
  {{- with $v.env }}{{ toYaml . | nindent 2 }}{{ end }}
resources:
  requests: {cpu: {{ $r.cpuRequest | quote }}, memory: {{ $r.memoryRequest }}}
  limits: {cpu: {{ $r.cpuLimit | quote }}, memory: {{ $r.memoryLimit }}}
securityContext:
  {{- include "semantic.security" .root | nindent 2 }}
{{- end }}

{{- define "semantic.security" -}}
runAsNonRoot: true
runAsUser: {{ .Values.user }}
runAsGroup: {{ .Values.user }}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
privileged: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "semantic.mounts" -}}
- {name: config, mountPath: /etc/semantic/config, readOnly: true}
- {name: {{ include "semantic.scratch" (list . "sockets") }}, mountPath: /run/semantic}
- {name: {{ include "semantic.volume" (list . "logs") }}, mountPath: /logs}
{{- end }}

{{/* An emptyDir's name. podman 4 gives all pods of a host the same folder for the same name. */}}
{{- define "semantic.scratch" -}}
{{ include "semantic.name" (index . 0) | replace "." "-" }}-{{ index . 1 }}
{{- end }}

{{/* The name of the volume data or logs: a claim's of the StatefulSet is part of the claim's own. */}}
{{- define "semantic.volume" -}}
{{- $p := index (index . 0).Values.persistence (index . 1) }}
{{- if or $p.existingClaim $p.enabled }}{{ index . 1 }}{{ else }}{{ include "semantic.scratch" . }}{{ end }}
{{- end }}

{{- define "semantic.engine" -}}
{{ include "semantic.container" (dict "root" . "name" "engine" "native" .Values.nativeSidecars) }}
# That the socket answers, never that the model is loaded: the proxy shall be there
# to refuse politely while it is not.
startupProbe:
  exec: {command: [/semantic, probe, --timeout=3s, --socket=/run/semantic/engine.sock, /internal/state]}
  periodSeconds: 1
  timeoutSeconds: 4
  failureThreshold: 120
livenessProbe:
  exec: {command: [/semantic, probe, --timeout=8s, --socket=/run/semantic/engine.sock, /internal/state]}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 3
volumeMounts:
  {{- include "semantic.mounts" . | nindent 2 }}
  - {name: {{ include "semantic.volume" (list . "data") }}, mountPath: /data}
  {{- if .Values.coldStore.existingClaim }}
  - {name: cold, mountPath: /cold}
  {{- end }}
  {{- if and (not .Values.upstream.url) (not .Values.model.url) }}
  - {name: models, mountPath: /models, readOnly: true}
  {{- end }}
  {{- if .Values.upstream.keySecret }}
  - {name: upstream, mountPath: /etc/semantic/upstream, readOnly: true}
  {{- end }}
{{- end }}

{{- define "semantic.sidecar" -}}
{{ include "semantic.container" (dict "root" . "name" "sidecar" "native" .Values.nativeSidecars) }}
ports:
  - {name: sidecar, containerPort: 8002{{ with .Values.hostPorts }}{{ if .sidecar }}, hostPort: {{ .sidecar }}, hostIP: {{ .ip | quote }}{{ end }}{{ end }}}
startupProbe:
  httpGet: {path: /health/live, port: sidecar}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /health/live, port: sidecar}
  periodSeconds: 20
  timeoutSeconds: 5
volumeMounts:
  {{- include "semantic.mounts" . | nindent 2 }}
{{- end }}

{{- define "semantic.proxy" -}}
{{ include "semantic.container" (dict "root" . "name" "proxy" "native" false) }}
ports:
  - {name: http, containerPort: 8000{{ with .Values.hostPorts }}{{ if .http }}, hostPort: {{ .http }}, hostIP: {{ .ip | quote }}{{ end }}{{ end }}}
# Live, not started: a model that takes long, or never loads, is no fault of the proxy's.
startupProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /health/ready, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /health/live, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
volumeMounts:
  {{- include "semantic.mounts" . | nindent 2 }}
  {{- if .Values.keys.secret }}
  - {name: keys, mountPath: /etc/semantic/keys, readOnly: true}
  {{- end }}
{{- end }}

{{- define "semantic.pull" -}}
name: model
image: {{ include "semantic.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [model, pull, {{ .Values.model.url | quote }}, --sha256={{ .Values.model.sha256 }}, --name={{ .Values.model.file }}]
resources:
  requests: {cpu: 100m, memory: 64Mi}
  limits: {cpu: "1", memory: 256Mi}
securityContext:
  {{- include "semantic.security" . | nindent 2 }}
volumeMounts:
  - {name: {{ include "semantic.volume" (list . "data") }}, mountPath: /data}
{{- end }}

{{- define "semantic.pod" -}}
metadata:
  labels:
    {{- include "semantic.selector" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "semantic.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "semantic.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # {{ .Values.stop.drainDelay }} + {{ .Values.stop.drainTimeout }} + {{ .Values.stop.persistTimeout }} + {{ .Values.stop.shipTimeout }} seconds of stop.*, and 2
  terminationGracePeriodSeconds: {{ include "semantic.grace" . }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ .Values.user }}
    runAsGroup: {{ .Values.user }}
    fsGroup: {{ .Values.user }}
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if or .Values.model.url .Values.nativeSidecars }}
  initContainers:
    {{- if .Values.model.url }}
    - {{- include "semantic.pull" . | nindent 6 }}
    {{- end }}
    {{- if .Values.nativeSidecars }}
    # In the order of their start; they stop in the reverse one, after the proxy.
    - {{- include "semantic.sidecar" . | nindent 6 }}
    - {{- include "semantic.engine" . | nindent 6 }}
    {{- end }}
  {{- end }}
  containers:
    - {{- include "semantic.proxy" . | nindent 6 }}
    {{- if not .Values.nativeSidecars }}
    - {{- include "semantic.engine" . | nindent 6 }}
    - {{- include "semantic.sidecar" . | nindent 6 }}
    {{- end }}
  volumes:
    - {name: config, configMap: {name: {{ include "semantic.name" . }}}}
    - {name: {{ include "semantic.scratch" (list . "sockets") }}, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
    {{- if .Values.keys.secret }}
    - {name: keys, secret: {secretName: {{ .Values.keys.secret }}, defaultMode: 0440}}
    {{- end }}
    {{- if .Values.upstream.keySecret }}
    - {name: upstream, secret: {secretName: {{ .Values.upstream.keySecret }}, defaultMode: 0440}}
    {{- end }}
    {{- if not (or .Values.upstream.url .Values.model.url) }}
    {{- if .Values.model.hostPath }}
    - {name: models, hostPath: {path: {{ .Values.model.hostPath }}, type: Directory}}
    {{- else }}
    - {name: models, persistentVolumeClaim: {claimName: {{ .Values.model.existingClaim }}, readOnly: true}}
    {{- end }}
    {{- end }}
    {{- if .Values.coldStore.existingClaim }}
    - {name: cold, persistentVolumeClaim: {claimName: {{ .Values.coldStore.existingClaim }}}}
    {{- end }}
    {{- range $name := list "data" "logs" }}
    {{- $p := index $.Values.persistence $name }}
    {{- if $p.existingClaim }}
    - {name: {{ $name }}, persistentVolumeClaim: {claimName: {{ $p.existingClaim }}}}
    {{- else if not $p.enabled }}
    - {name: {{ include "semantic.volume" (list $ $name) }}, emptyDir: {sizeLimit: {{ $.Values.persistence.emptyDirLimit }}}}
    {{- else if eq $.Values.kind "Deployment" }}
    - {name: {{ $name }}, persistentVolumeClaim: {claimName: {{ include "semantic.name" $ }}-{{ $name }}}}
    {{- end }}
    {{- end }}
  {{- if .Values.topologySpread }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {{ include "semantic.selector" . | fromYaml | toJson }}}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "semantic.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .size }}}}
{{- end }}
