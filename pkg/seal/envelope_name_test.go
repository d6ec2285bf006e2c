package seal

import (
	"fmt"
	"strings"
	"testing"
)

// TestAnEnvelopeThatDoesNotOpenIsNamed: former keys have the purpose of the
// present one; the key id is on the first line of the file.
func TestAnEnvelopeThatDoesNotOpenIsNamed(t *testing.T) {
	t.Parallel()
	closed, err := consentKey(t).Envelop(t.Context(), newShelf(t))
	if err != nil {
		t.Fatal(err)
	}
	closed.envelope.sealed[0] ^= 1
	if _, err := closed.Open(t.Context(), newShelf(t)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%x", closed.envelope.keyID)) {
		t.Errorf("got %v", err)
	}
}
