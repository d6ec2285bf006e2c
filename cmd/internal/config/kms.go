package config

import "time"

// KMS is what opens key files that are envelopes. Its parts are checked by
// cmd/internal/app/keeper, so that only processes that open envelopes link a KMS's
// client.
type KMS struct {
	URI, TokenFile, CAFile, Namespace string
	Timeout                           time.Duration
}

// Names of the settings.
const (
	KMSURI       = "METIVA_KMS_URI"
	KMSTokenFile = "METIVA_KMS_TOKEN_FILE"
	KMSCAFile    = "METIVA_KMS_CA_FILE"
)

// Bind adds the settings of the KMS.
func (k *KMS) Bind(s *Set) {
	s.String(&k.URI, Option{Flag: "kms-uri", Env: KMSURI, Help: "Key that opens envelopes, hcvault://host:port/mount/keys/name in Vault or OpenBao; empty: key files hold the keys themselves (see docs/operations/keys.md)."})
	s.String(&k.TokenFile, Option{Flag: "kms-token-file", Env: KMSTokenFile, Help: "File with the token for the KMS; read at each request."})
	s.String(&k.CAFile, Option{Flag: "kms-ca-file", Env: KMSCAFile, Help: "PEM file of the authority that signed the KMS's certificate; empty for the system's."})
	s.String(&k.Namespace, Option{Flag: "kms-namespace", Env: "METIVA_KMS_NAMESPACE", Help: "Namespace of the KMS; empty for none."})
	s.Duration(&k.Timeout, Option{Flag: "kms-timeout", Env: "METIVA_KMS_TIMEOUT", Default: "30s", Help: "How long a start waits for the KMS for one key before it is refused."})
}

// IsSet reports whether key files are to be envelopes.
func (k *KMS) IsSet() bool { return k.URI != "" }
