package consent

// consentModeAnswer reads a parameter of Google Consent Mode v2: gcs ("G1",
// then 0, 1 or - for ad_storage and analytics_storage) or gcd ("1", then a digit
// and a letter for each of ad_storage, analytics_storage, ad_user_data and
// ad_personalization, then more digits and letters). Only analytics_storage
// counts. A yes is no answer: Consent Mode lowers and never raises.
//
// gcs is documented by Google, gcd only by observers; an unknown letter refuses.
func consentModeAnswer(raw string) Answer {
	const gcsBytes, gcdBytesMin, gcdAnalytics = 4, 9, 4
	switch {
	case raw == "":
		return AnswerNone
	case len(raw) == gcsBytes && raw[:2] == "G1" && isStorageState(raw[2]) && isStorageState(raw[3]):
		if raw[3] == '0' {
			return AnswerRefused
		}
		return AnswerNone
	case len(raw) >= gcdBytesMin && raw[0] == '1':
		for i := 1; i < gcdBytesMin; i += 2 {
			if !isDigit(raw[i]) || !isLetter(raw[i+1]) {
				return AnswerRefused
			}
		}
		return storageLetter(raw[gcdAnalytics])
	}
	return AnswerRefused
}

func isStorageState(b byte) bool { return b == '0' || b == '1' || b == '-' }

// storageLetter reads one letter of gcd: default and update of one storage.
func storageLetter(b byte) Answer {
	switch b {
	case 'l': // neither set
		return AnswerNone
	case 't', 'r', 'n', 'v': // granted by default, by update after a denial, by update, by both
		return AnswerNone
	}
	// p, q, m and u end in a denial.
	return AnswerRefused
}
