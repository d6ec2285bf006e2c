package consent

import "testing"

func TestIsLanguage(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]bool{
		"nl": true, "en-GB": true, "zh-Hant-TW": true, "sr-Latn-RS": true, "de-1996": true, "ast": true,
		"": false, "n": false, "nlxx": false, "nl-": false, "-nl": false, "nl_NL": false, "1l": false,
		"nl-abcdefghi": false, "a@b.nl": false, "nl nl": false, "nl-aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaa": false,
	} {
		if IsLanguage(tag) != want {
			t.Errorf("%q: %v", tag, !want)
		}
	}
}
