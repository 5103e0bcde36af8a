{{- define "lib.say" -}}said {{ .Values.lib.a }}{{- end }}
