{{/* One file of settings for all three processes. */}}
{{- define "semantic.config" -}}
{{- $v := .Values }}
{{- $c := dict
  "log-dir" "/logs" "socket-dir" "/run/semantic" "log-format" "json"
  "host" "0.0.0.0" "port" 8000 "allow-remote" true
  "sidecar-listen" ":8002" "external-url" (include "semantic.externalURL" .) "dashboard-url" $v.dashboardURL
  "log-rotate-on-stop" true
  "drain-delay" (printf "%vs" $v.stop.drainDelay) "drain-timeout" (printf "%vs" $v.stop.drainTimeout)
  "persist-timeout" (printf "%vs" $v.stop.persistTimeout) "stop-timeout" (printf "%vs" (include "semantic.stopTimeout" .)) }}
{{- if $v.keys.secret }}{{ $_ := set $c "key-file" "/etc/semantic/keys/keys.yaml" }}{{ else }}{{ $_ := set $c "insecure-no-auth" true }}{{ end }}
{{- if $v.upstream.url }}
{{- $_ := set $c "backend" "upstream" }}{{ $_ := set $c "upstream-url" $v.upstream.url }}
{{- if $v.upstream.keySecret }}{{ $_ := set $c "upstream-key-file" "/etc/semantic/upstream/token" }}{{ end }}
{{- else if $v.model.url }}{{ $_ := set $c "model" (printf "/data/models/%s" $v.model.file) }}
{{- else }}{{ $_ := set $c "model" (printf "/models/%s" $v.model.file) }}{{ end }}
{{- if and $v.monitoring.enabled $v.monitoring.rules $v.prometheusURL }}{{ $_ := set $c "rules-mode" "verify" }}{{ $_ := set $c "prometheus-url" $v.prometheusURL }}{{ end }}
{{- if $v.alertmanagerURL }}{{ $_ := set $c "alertmanager-url" $v.alertmanagerURL }}{{ end }}
{{- if $v.coldStore.url }}
{{- $_ := set $c "cold-store" $v.coldStore.url }}{{ $_ := set $c "cold-after" (printf "%vs" $v.coldStore.after) }}
{{- if $v.coldStore.quota }}{{ $_ := set $c "cold-quota" $v.coldStore.quota }}{{ end }}
{{- end }}
{{- if $v.shipTo }}{{ $_ := set $c "ship-to" $v.shipTo }}{{ end }}
{{- toYaml (mergeOverwrite $c (deepCopy $v.config)) }}
{{- end }}
