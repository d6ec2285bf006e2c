package schemas

import "strings"

// FormPrefix begins the names that are the collector's own in a form post.
const FormPrefix = "metiva_"

// sensitiveNames are names of fields that hold what must never be captured,
// Dutch and English. Compounds are looked for anywhere in a name without its
// separators, words must stand alone or with digits behind them: "pin" is one,
// "shipping" is not.
var sensitiveNames = [...]struct {
	what             string
	compounds, words []string
}{
	{
		"a password",
		[]string{"password", "passwd", "passphrase", "passcode", "wachtwoord", "pincode", "clientsecret", "accesstoken", "onetimecode", "verificationcode"},
		[]string{"pass", "pwd", "pw", "pin", "otp", "token", "secret", "csrf"},
	},
	{
		"a payment card",
		[]string{"creditcard", "debitcard", "cardnumber", "cardnr", "cardno", "cardexp", "kaartnummer", "kaartnr", "ccnumber", "ccnum", "ccexp", "cccsc", "cvc", "cvv", "securitycode", "beveiligingscode"},
		[]string{"card", "cc", "csc", "pan", "kaart"},
	},
	{
		"a bank account",
		[]string{"accountnumber", "accountnr", "bankaccount", "rekeningnummer", "rekeningnr", "bankrekening", "ibannummer", "ibannumber"},
		[]string{"iban", "bic", "swift", "rekening"},
	},
	{
		"an identity document or citizen's number",
		[]string{"burgerservice", "sofinummer", "socialsecurity", "nationalid", "citizenservice", "passport", "paspoort", "identitycard", "identiteitsbewijs", "rijbewijs", "driverslicen", "bsnnummer", "bsnnumber"},
		[]string{"bsn", "ssn", "sofi"},
	},
	{
		"a date of birth",
		[]string{"geboortedatum", "geboorte", "dateofbirth", "birthdate", "birthday"},
		[]string{"dob"},
	},
}

// SensitiveField says what a field of this name would hold that must never be
// captured, or nothing. The registry refuses such a field, and the collector a form
// that has one all the same.
func SensitiveField(name string) (what string) {
	words := NameWords(name)
	whole := strings.Join(words, "")
	for _, s := range sensitiveNames {
		for _, c := range s.compounds {
			if strings.Contains(whole, c) {
				return s.what
			}
		}
		for _, w := range s.words {
			for _, word := range words {
				if word == w || strings.TrimRight(word, "0123456789") == w {
					return s.what
				}
			}
		}
	}
	return ""
}

// NameWords splits a name at everything but letters and digits, and where a capital
// follows a small letter or a digit, and writes the words small.
func NameWords(name string) []string {
	var words []string
	var word []byte
	end := func() {
		if len(word) > 0 {
			words = append(words, string(word))
			word = word[:0]
		}
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 && isAlnum(name[i-1]) && (name[i-1] < 'A' || name[i-1] > 'Z') {
				end()
			}
			word = append(word, c|0x20)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			word = append(word, c)
		default:
			end()
		}
	}
	end()
	return words
}
