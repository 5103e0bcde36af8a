package sops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"

	"plumb.dev/plumb/internal/model"
)

// BuildFailed is the reason of every fault, as kustomize-controller has it.
const BuildFailed = "BuildFailed"

func fault(file, what, advice string) *model.Fault {
	return &model.Fault{Reason: BuildFailed, Message: fmt.Sprintf("%s cannot be decrypted: %s", file, what), Advice: advice}
}

func (o *opening) fault(what, advice string) *model.Fault { return fault(o.file, what, advice) }

func (o *opening) malformed(what string) *model.Fault {
	return o.fault(what, "encrypt it again with sops")
}

// late is about a context that has ended.
func (o *opening) late() *model.Fault {
	what := "that was cancelled"
	if errors.Is(o.ctx.Err(), context.DeadlineExceeded) {
		what = fmt.Sprintf("that took longer than %s", o.limits.Time)
	}
	fault := o.fault(what, "")
	fault.Retry, fault.Err = true, o.ctx.Err()
	return fault
}

// locked is about a data key that no key opens.
func (o *opening) locked(m *sops.Metadata, tries []try) *model.Fault {
	var recipients []string
	for _, group := range m.KeyGroups {
		for _, key := range group {
			recipients = append(recipients, recipient(key.TypeToIdentifier(), key.ToString()))
		}
	}
	what := fmt.Sprintf("it is encrypted for %s, and the keys given are %s", listed(recipients), o.keys.kinds())
	if len(m.KeyGroups) > 1 && m.ShamirThreshold > 1 {
		what += fmt.Sprintf("; keys of %d of its %d groups are needed", m.ShamirThreshold, len(m.KeyGroups))
	}
	var reasons []string
	retry := false
	for _, t := range tries {
		if t.why == "" {
			continue
		}
		reasons = append(reasons, t.recipient+": "+t.why)
		retry = retry || t.retry
	}
	if reasons = slices.Compact(reasons); len(reasons) > 0 {
		what += " (" + listed(reasons) + ")"
	}
	fault := o.fault(what, o.keys.advice(retry))
	fault.Retry = retry
	return fault
}

// recipient names a key of a file by its kind and its public name.
func recipient(kind, name string) string {
	words := map[string]string{"age": "age", "pgp": "PGP", "kms": "AWS KMS", "gcp_kms": "GCP KMS", "hc_vault": "Vault", "azure_kv": "Azure Key Vault", "hckms": "Huawei KMS"}
	if word, ok := words[kind]; ok {
		kind = word
	}
	return kind + " " + printable(name)
}

// listed joins a few of many.
func listed(all []string) string {
	const most = 6
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}

// printable is a text of a file that a message may show.
func printable(text string) string {
	const most = 120
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(clean) > most {
		clean = clean[:most] + "…"
	}
	return clean
}

// silence ends the loggers of the library, which write what they decrypt to
// the process's error output.
var silence = sync.OnceFunc(func() {
	for _, logger := range logging.Loggers {
		logger.SetOutput(io.Discard)
		logger.SetLevel(logrus.PanicLevel)
	}
})
