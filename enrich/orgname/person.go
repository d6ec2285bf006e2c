package orgname

import "strings"

// LooksLikePerson reports whether the name of an AS is a natural person's:
// "A B trading as C", or a common given name followed by a surname, without a
// word that organisations carry. Such a network is a person's own business and
// is never named. It errs towards false: the caller shows neither.
func LooksLikePerson(name string) bool {
	lower := strings.ToLower(name)
	for _, mark := range [...]string{"eenmanszaak", " e.k.", "einzelunternehmen", "entreprise individuelle"} { // sole trader
		if strings.Contains(lower, mark) {
			return true
		}
	}
	if before, _, ok := strings.Cut(lower, " trading as "); ok {
		// "MK Netzdienste GmbH trading as …" is a company.
		return !hasOrganizationWord(before)
	}
	words := strings.Fields(lower)
	if len(words) < 2 || len(words) > 5 || hasOrganizationWord(lower) {
		return false
	}
	return isGivenName(words[0])
}

// hasOrganizationWord reports whether a word of the name is a legal form or a
// word for an organisation. The name is in lower case.
func hasOrganizationWord(name string) bool {
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == ' ' || r == ',' || r == '/' || r == '-' }) {
		if strings.HasPrefix(word, "universit") { // in any language
			return true
		}
		switch strings.ReplaceAll(strings.Trim(word, "()\""), ".", "") {
		case "bv", "nv", "vof", "cv", "ua", "bvba", "sprl", "srl", "sa", "sas", "sarl", "scrl", "asbl", "vzw",
			"gmbh", "ag", "kg", "kgaa", "ohg", "ug", "ev", "se", "mbh", "ltd", "limited", "llc", "inc", "corp",
			"corporation", "plc", "lp", "llp", "ab", "as", "asa", "oy", "oyj", "aps", "spa", "sl", "slu", "sro", "doo",
			"stichting", "vereniging", "cooperatie", "coöperatie", "foundation", "stiftung", "verein", "association",
			"hogeschool", "hochschule", "school", "college", "institute",
			"gemeente", "provincie", "ministerie", "stadt", "group", "groep", "gruppe", "holding", "bank", "hosting",
			"network", "networks", "telecom", "internet", "solutions", "services", "media", "systems", "company", "co":
			return true
		}
	}
	return false
}

// isGivenName knows given names that are common in the Netherlands, Belgium
// and Germany. The name is in lower case.
func isGivenName(word string) bool {
	switch word {
	case "jan", "piet", "pieter", "peter", "kees", "cornelis", "hans", "henk", "hendrik", "johan", "johannes", "willem",
		"wim", "gerard", "gert", "bert", "bart", "bas", "sebastiaan", "erik", "eric", "frank", "frans", "fred", "jeroen",
		"jorn", "jori", "joost", "joris", "koen", "lars", "luc", "lucas", "luuk", "marc", "mark", "marcel", "marco", "martin",
		"maarten", "michael", "michel", "michiel", "mike", "niels", "nick", "paul", "patrick", "rob", "robert", "robin",
		"ronald", "roel", "ruben", "rutger", "sander", "simon", "stef", "stefan", "steven", "stijn", "sven", "thomas",
		"thijs", "tim", "tom", "valentino", "victor", "vincent", "walter", "wouter", "yannick", "xaviero",
		"alain", "bruno", "cedric", "christophe", "didier", "fabien", "francois", "jacques", "jean", "laurent", "nicolas",
		"olivier", "philippe", "pierre", "alexander", "andreas", "bernd", "christian", "christoph", "daniel", "david",
		"dirk", "dominik", "fabian", "felix", "florian", "friedrich", "georg", "heiko", "heinz", "holger", "jens",
		"joachim", "jochen", "jonas", "juergen", "jürgen", "julian", "kai", "karl", "klaus", "kurt", "lukas", "manfred",
		"markus", "matthias", "max", "maximilian", "moritz", "oliver", "philipp", "rainer", "ralf", "rolf", "sascha",
		"sebastian", "stephan", "tobias", "torsten", "uwe", "werner", "wolfgang", "job", "john", "james", "george",
		"anna", "anne", "annemarie", "astrid", "barbara", "birgit", "carla", "christina", "claudia", "els", "emma", "eva",
		"hanna", "ingrid", "johanna", "julia", "karin", "katrin", "laura", "linda", "lisa", "maria", "marie", "marieke",
		"monika", "nina", "petra", "sabine", "sandra", "sara", "sarah", "sofie", "sophie", "susanne", "ursula", "wilma":
		return true
	}
	return false
}
