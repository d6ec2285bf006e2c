package kms

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/metiva-io/metiva/pkg/secret"
)

const (
	answerBytesMax      = 64 << 10
	answerHeaderBytes   = 16 << 10
	vaultRequestHeader  = "X-Vault-Request"
	vaultRequestPresent = "true"
)

// vault reaches one key of a Vault.
type vault struct {
	cfg       Config
	host      string
	transport http.RoundTripper
}

func newVault(cfg Config) (*vault, error) {
	u, err := parseURI(cfg.URI)
	if err != nil {
		return nil, err
	}
	authorities, err := readAuthorities(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &vault{cfg: cfg, host: u.Host, transport: &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: answerHeaderBytes,
		// A few requests at the start of a process.
		DisableKeepAlives: true,
	}}, nil
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// within ends requests with ctx, which Tink's client does not know of, and bounds
// their answers.
func (v *vault) within(ctx context.Context) http.RoundTripper {
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		own, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		res, err := v.transport.RoundTrip(req.WithContext(own))
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax+1))
		_ = res.Body.Close()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("reading the answer: %w", err)
		case len(body) > answerBytesMax:
			return nil, fmt.Errorf("the answer is longer than %d bytes", answerBytesMax)
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
		return res, nil
	})
}

// key is the KMS's key for requests that end with ctx, and the token they carry.
func (v *vault) key(ctx context.Context) (tink.AEAD, secret.Text, error) {
	token, err := readToken(v.cfg.TokenFile)
	if err != nil {
		return nil, token, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	client, err := api.NewClient(&api.Config{
		Address: "https://" + v.host,
		HttpClient: &http.Client{
			Transport: v.within(ctx),
			// The client follows one redirect itself, and only to HTTPS.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// Tries are counted and timed in one place, KMS.try.
		CheckRetry: func(_ context.Context, _ *http.Response, err error) (bool, error) { return false, err },
	})
	if err != nil {
		return nil, token, ErrEnvironment
	}
	// The client has taken VAULT_TOKEN, VAULT_NAMESPACE, VAULT_HEADERS and
	// VAULT_WRAP_TTL from the environment: the process's configuration counts.
	client.SetHeaders(http.Header{vaultRequestHeader: {vaultRequestPresent}})
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	client.SetToken(token.Reveal())
	if v.cfg.Namespace != "" {
		client.SetNamespace(v.cfg.Namespace)
	}
	tinkClient, err := hcvault.NewClientWithAEADOptions(v.cfg.URI, client.Logical())
	if err != nil {
		return nil, token, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	key, err := tinkClient.GetAEAD(v.cfg.URI)
	if err != nil {
		return nil, token, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return key, token, nil
}
