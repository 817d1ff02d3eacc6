{{- define "semantic.name" -}}{{ .Values.nameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}

{{- define "semantic.selector" -}}
app.kubernetes.io/name: semantic
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "semantic.meta" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "semantic.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "semantic.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{/* The parts of a stop add up; a stop of a process has two seconds to spare. */}}
{{- define "semantic.stopTimeout" -}}
{{- with .Values.stop }}{{ add .drainDelay .drainTimeout .persistTimeout 2 }}{{ end }}
{{- end }}
{{- define "semantic.grace" -}}{{ add (include "semantic.stopTimeout" .) .Values.stop.shipTimeout }}{{- end }}

{{- define "semantic.externalURL" -}}
{{- .Values.externalURL | default (printf "http://%s-sidecar.%s:%v" (include "semantic.name" .) .Release.Namespace .Values.service.sidecarPort) }}
{{- end }}

{{/* Nine tenths of a quantity of memory, as Go writes it. */}}
{{- define "semantic.gomemlimit" -}}
{{- $n := regexFind "^[0-9]+" . | int64 }}
{{- $unit := trimPrefix (toString $n) . }}
{{- if eq $unit "Gi" }}{{ div (mul $n 1024 9) 10 }}MiB
{{- else if eq $unit "Mi" }}{{ div (mul $n 9) 10 }}MiB
{{- else }}{{ fail (printf "a memory limit of %s: say it in Mi or Gi" .) }}{{ end }}
{{- end }}

{{/* What makes no sense is refused here, and not by the cluster. */}}
{{- define "semantic.check" -}}
{{- if not (has .Values.kind (list "Deployment" "StatefulSet")) }}{{ fail (printf "kind=%s is neither Deployment nor StatefulSet" .Values.kind) }}{{ end }}
{{- if not (or .Values.keys.secret .Values.keys.insecureNoAuth) }}{{ fail "keys.secret names no secret: make one, or say keys.insecureNoAuth=true" }}{{ end }}
{{- if not (or .Values.upstream.url .Values.model.existingClaim .Values.model.url .Values.model.hostPath) }}{{ fail "there is no model: set model.existingClaim, model.url with model.sha256, or upstream.url" }}{{ end }}
{{- if and .Values.model.url (not .Values.model.sha256) }}{{ fail "model.url needs model.sha256, by which the file is known to be the right one" }}{{ end }}
{{- if and (eq .Values.kind "Deployment") .Values.persistence.data.enabled (gt (int .Values.replicas) 1) }}{{ fail "the pods of a Deployment would share persistence.data: say kind=StatefulSet, replicas=1 or persistence.data.enabled=false" }}{{ end }}
{{- end }}
