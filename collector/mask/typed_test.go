package mask

import (
	"strings"
	"testing"
)

func TestWithheld(t *testing.T) {
	t.Parallel()
	withheld := map[string]string{
		"bsn": "123456782", "bsn with dots": "1234.56.782", "bsn with spaces": "123 456 782", "bsn in a sentence": "mijn bsn is 123456782, bel mij",
		"bsn beside a phone": "06 12345678 / bsn: 123456782", "bsn after a number": "2026 - 123456782", "short bsn": "12345672",
		"bsn in full width": "１２３４５６７８２", "bsn in arabic digits": "١٢٣٤٥٦٧٨٢", "bsn encoded": "%31%32%33456782", "bsn encoded twice": "%2531%2532%2533456782",
		"iban": "NL91ABNA0417164300", "iban with spaces": "NL91 ABNA 0417 1643 00", "iban small": "nl91abna0417164300", "iban in pairs": "NL 91 ABNA 04 17 16 43 00", "iban with slashes": "NL91/ABNA/0417/1643/00", "iban in brackets": "(nl 91) abna 0417164300.", "iban behind its name": "ibanNL 91 ABNA 0417164300", "iban in a sentence": "graag op NL91ABNA0417164300 storten",
		"card": "4111111111111111", "card with spaces": "4111 1111 1111 1111", "card with dashes": "4111-1111-1111-1111", "amex": "378282246310005",
		"card with its date": "4111 1111 1111 1111 12/28 123", "card over two lines": "4111 1111\n1111 1111", "card of 19 digits": "6304000000000000000",
		"very long number": strings.Repeat("7", 25), "endless": strings.Repeat("12 ", 50), "card with hidden characters": "4111\u200b1111\u200b1111\u200b1111",
		"jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5AZXhhbXBsZS5ubCJ9.x1y2z3a4b5c6", "uuid": "9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162", "api key": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
		"encoded deep": "%25252525252531",
	}
	kept := map[string]string{
		"empty": "", "name": "Jan de Vries", "company": "3M Nederland B.V.", "address": "Kerkstraat 12-2, 1234 AB Amsterdam", "mobile": "0612345678", "mobile with space": "06 12345678",
		"mobile with groups": "06 12 34 56 78", "landline": "020 - 123 45 67", "landline in brackets": "(020) 1234567", "international": "+31 6 12345678", "international with zeros": "0031612345678",
		"international with its zero": "+31 (0)6 12345678", "date": "22-11-2026", "date year first": "2026-11-22", "time": "22-11-2026 14:30", "years": "2019-2026", "amount": "EUR 12.500,00",
		"e-mail": "jan.de.vries@example.nl", "message": "Hallo,\n\nGraag een offerte voor 25 stuks.\nMet vriendelijke groet\n", "version": "10.15.7", "percent": "50% korting",
		"not a card": "4111111111111112", "not a bsn": "123456789", "quarter": "Q3 2026", "near an iban": "NL 91 ABNA 0417164301", "country and number": "NL 24 uur 0612345678",
	}
	var typed Typed
	for name, text := range withheld {
		if !typed.Withheld([]byte(text)) {
			t.Errorf("%s is kept: %q", name, text)
		}
	}
	for name, text := range kept {
		if typed.Withheld([]byte(text)) {
			t.Errorf("%s is withheld: %q", name, text)
		}
	}
	typed.Forget()
	for _, c := range typed.d.plain[:cap(typed.d.plain)] {
		if c != 0 {
			t.Fatal("something stays after Forget")
		}
	}
}

// FuzzWithheld: whatever stands around a number, it is found.
func FuzzWithheld(f *testing.F) {
	f.Add("mijn nummer is ", " bel mij")
	f.Add("", "")
	f.Add("(", ")")
	f.Add("\xff%", "%")
	f.Fuzz(func(t *testing.T, before, after string) {
		var typed Typed
		typed.Withheld([]byte(before))
		typed.WithheldNumber([]byte(after))
		// A letter on each side keeps other numbers and encodings away.
		if !typed.Withheld([]byte(before + " x 4111111111111111 x " + after)) {
			t.Errorf("not found between %q and %q", before, after)
		}
	})
}
