{{- define "umbrella.zone" -}}{{ .Values.global.zone }}{{- end }}
{{- define "shared" -}}from the umbrella{{- end }}
{{- define "factorial" -}}{{- if le (int .) 1 }}1{{ else }}{{ mul . (include "factorial" (sub . 1) | int) }}{{ end }}{{- end }}
