{{- define "sidegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains "sidegate" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-sidegate" (.Release.Name | trunc 54 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "sidegate.selectorLabels" -}}
{{- if eq .Values.mode "standalone" -}}
app.kubernetes.io/name: sidegate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- else -}}
{{- if empty .Values.sidecar.selectorLabels }}{{ fail "sidecar.selectorLabels: the labels of your pods, for what selects them" }}{{ end -}}
{{- toYaml .Values.sidecar.selectorLabels -}}
{{- end -}}
{{- end -}}

{{- define "sidegate.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: sidegate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "sidegate.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Ports as the configuration has them. */}}
{{- define "sidegate.port" -}}
{{- (.Values.config.listen | default dict).port | default 8080 | int -}}
{{- end -}}
{{- define "sidegate.managementPort" -}}
{{- (.Values.config.management | default dict).port | default 9090 | int -}}
{{- end -}}

{{/* A duration of the configuration in whole seconds, rounded up; values.schema.json lets nothing else come here. */}}
{{- define "sidegate.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- if eq $unit "ms" -}}{{ div (add $number 999) 1000 }}
{{- else -}}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) }}
{{- end -}}
{{- end -}}

{{/* shutdown.delay and shutdown.grace together, in seconds. */}}
{{- define "sidegate.stopSeconds" -}}
{{- $shutdown := .Values.config.shutdown | default dict -}}
{{- add (include "sidegate.seconds" ($shutdown.delay | default "5s")) (include "sidegate.seconds" ($shutdown.grace | default "20s")) -}}
{{- end -}}

{{/* For the pod: what the gateway needs to stop, after the app's preStop where it is a native sidecar. */}}
{{- define "sidegate.terminationGracePeriodSeconds" -}}
{{- if not (kindIs "invalid" .Values.terminationGracePeriodSeconds) -}}
{{- .Values.terminationGracePeriodSeconds | int -}}
{{- else -}}
{{- $before := ternary .Values.sidecar.appPreStopSeconds 0 (eq .Values.mode "sidecar") | int -}}
{{- add (include "sidegate.stopSeconds" .) $before 10 -}}
{{- end -}}
{{- end -}}

{{/* The container, for the list `containers`. */}}
{{- define "sidegate.container" -}}
{{- include "sidegate.containerWith" (dict "root" . "native" false) -}}
{{- end -}}

{{/* The same as a native sidecar, for the list `initContainers` (Kubernetes 1.29 and later). */}}
{{- define "sidegate.sidecar" -}}
{{- include "sidegate.containerWith" (dict "root" . "native" true) -}}
{{- end -}}

{{- define "sidegate.containerWith" -}}
{{- $values := .root.Values -}}
- name: sidegate
  image: {{ include "sidegate.image" .root | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- if .native }}
  restartPolicy: Always
  {{- end }}
  {{- with $values.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http
      containerPort: {{ include "sidegate.port" .root }}
    - name: management
      containerPort: {{ include "sidegate.managementPort" .root }}
  startupProbe:
    httpGet: { path: /readyz, port: management }
    periodSeconds: 1
    failureThreshold: 60
  readinessProbe:
    httpGet: { path: /readyz, port: management }
    periodSeconds: 5
  livenessProbe:
    httpGet: { path: /healthz, port: management }
    periodSeconds: 10
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    {{- toYaml $values.securityContext | nindent 4 }}
  volumeMounts:
    # The directory, not the file by subPath: only so a changed ConfigMap arrives.
    - name: sidegate-config
      mountPath: /etc/sidegate
      readOnly: true
    {{- if $values.existingSecret }}
    - name: sidegate-secrets
      mountPath: {{ $values.secretsPath }}
      readOnly: true
    {{- end }}
    {{- with $values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* For the list `volumes` of the pod. */}}
{{- define "sidegate.volumes" -}}
- name: sidegate-config
  configMap:
    name: {{ include "sidegate.fullname" . }}
{{- with .Values.existingSecret }}
- name: sidegate-secrets
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
