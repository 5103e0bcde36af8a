package health

// sealedSecrets judges SealedSecrets: healthy once decrypted into a Secret.
var sealedSecrets = system{group: "bitnami.com", kinds: map[string]rule{"SealedSecret": first(conditionBoth("Synced"))}}
