package orgname

import (
	"slices"
	"strings"
)

// LooksLikePerson reports whether a name is a natural person's: "A B trading as C",
// a title, initials or a common given name before a surname, a surname with "van"
// behind one word, or "Jansen, Jan". Words that sole traders put behind their own
// name ("Jan Jansen Consultancy") make no organisation of it, a legal form or a word
// for an institution does. Such a network is a person's own business and is never
// named. It errs towards a person: an organisation that is not shown is a smaller
// fault than a person who is.
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
	if hasOrganizationWord(lower) {
		return false
	}
	if family, given, ok := strings.Cut(lower, ","); ok && len(strings.Fields(family)) <= 3 {
		if first := strings.Fields(given); len(first) > 0 && (isGivenName(first[0]) || isInitials(first[0])) {
			return true
		}
	}
	words := slices.DeleteFunc(strings.Fields(lower), isTrade)
	if len(words) < 2 || len(words) > 5 {
		return false
	}
	return isGivenName(words[0]) || isTitle(words[0]) || isInitials(words[0]) || len(words) > 2 && isParticle(words[1]) && !isParticle(words[0])
}

// isInitials reports whether a word is one letter, or letters with dots: "j", "j.p.".
func isInitials(word string) bool {
	parts := strings.Split(strings.TrimSuffix(word, "."), ".")
	for _, p := range parts {
		if len(p) != 1 || p[0] < 'a' || p[0] > 'z' {
			return false
		}
	}
	return len(parts) <= 4
}

func isTitle(word string) bool {
	switch strings.TrimSuffix(word, ".") {
	case "dhr", "mevr", "mevrouw", "mw", "meneer", "fam", "familie", "herr", "frau", "mr", "mrs", "ms", "monsieur", "madame", "mme", "drs":
		return true
	}
	return false
}

// isParticle knows what stands before the surname.
func isParticle(word string) bool {
	switch word {
	case "van", "von", "vom", "der", "den", "ten", "ter", "'t", "el", "al", "ben", "bin":
		return true
	}
	return false
}

// isTrade knows words that sole traders put behind their names, and organisations
// too.
func isTrade(word string) bool {
	switch strings.Trim(word, "()\",.") {
	case "network", "networks", "telecom", "internet", "solutions", "services", "service", "media", "systems", "hosting", "consultancy", "consulting",
		"consultant", "advies", "design", "webdesign", "it", "ict", "fotografie", "photography", "coaching", "training", "bouw", "administratie",
		"software", "development", "projects", "trading", "handel", "studio", "productions", "marketing", "interim", "management", "praktijk", "&", "-":
		return true
	}
	return false
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
			"hogeschool", "hochschule", "school", "college", "institute", "instituut", "institut", "academy", "hospital", "ziekenhuis",
			"gemeente", "provincie", "ministerie", "ministry", "department", "dept", "agency", "authority", "stadt", "landkreis", "ville", "banque", "port",
			"group", "groep", "gruppe", "holding", "bank", "company", "co":
			return true
		}
	}
	return false
}

// isGivenName knows given names that are common in the Netherlands, Belgium,
// Germany and their neighbours. The name is in lower case.
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
		"monika", "nina", "petra", "sabine", "sandra", "sara", "sarah", "sofie", "sophie", "susanne", "ursula", "wilma",
		"sjoerd", "gijs", "teun", "daan", "sem", "bram", "jesse", "floris", "hugo", "mees", "jort", "anouk", "femke",
		"fleur", "sanne", "iris", "eline", "lotte", "roos", "noor", "saskia", "esther", "ellen", "ineke", "tineke",
		"marijke", "anneke", "annelies", "hanneke", "joke", "ria", "gerda", "gerrit", "geert", "herman", "hermann", "harm",
		"harry", "arie", "aad", "bernard", "cees", "dick", "dennis", "edwin", "eduard", "ernst", "evert", "ferdinand",
		"gerben", "guido", "hein", "huub", "ivo", "jaap", "jacob", "jack", "jasper", "jelle", "jelmer", "joep", "jos",
		"jurgen", "leo", "leon", "lennart", "lex", "maikel", "mathijs", "menno", "nico", "norbert", "onno", "pim",
		"raymond", "rene", "rené", "richard", "rik", "rinus", "roland", "ron", "roy", "ruud", "sjaak", "theo", "tijmen",
		"tjeerd", "ton", "wessel", "wilco", "youri", "mohamed", "mohammed", "muhammad", "ahmed", "ahmet", "ali", "fatima",
		"hassan", "hasan", "ibrahim", "khalid", "mehmet", "mustafa", "omar", "osman", "said", "youssef", "yusuf", "aisha",
		"emre", "murat", "ayse", "anja", "antje", "bettina", "carsten", "karsten", "dieter", "gabriele", "gerhard",
		"guenter", "günter", "hannes", "heike", "helmut", "herbert", "horst", "ingo", "joerg", "jörg", "josef", "joseph",
		"jutta", "katharina", "kerstin", "lothar", "ludwig", "manuela", "marion", "martina", "melanie", "michaela",
		"nadine", "otto", "renate", "rudolf", "silke", "simone", "stefanie", "steffen", "tanja", "thorsten", "ulrich",
		"ulrike", "ute", "volker", "wilhelm", "antoine", "benoit", "catherine", "claude", "denis", "emmanuel", "etienne",
		"francoise", "frederic", "gilles", "guillaume", "isabelle", "julien", "martine", "mathieu", "maxime", "nathalie",
		"pascal", "stephane", "sylvie", "thierry", "veronique", "xavier", "yves", "andrew", "anthony", "brian", "charles",
		"chris", "christopher", "donald", "edward", "gary", "jason", "jeff", "jennifer", "jessica", "kevin", "matthew",
		"mary", "nicholas", "patricia", "ryan", "scott", "stephen", "steve", "susan", "william":
		return true
	}
	return false
}
