package bot

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// rule is one literal that gives a class, alone or with an expression.
type rule struct {
	// lower is the literal in lower case.
	lower string
	// exact is the literal in its own letter case; empty when case does not matter.
	exact string
	// atStart: the literal must begin the agent.
	atStart bool
	// expression, if any, must match the whole agent besides; number is its place in
	// the list, and the same for all literals of one expression.
	expression *regexp.Regexp
	number     int
	rank       int
}

// entry is where a rule is found: its literal has the three bytes of its bucket at
// offset.
type entry struct {
	rule   *rule
	offset int
}

// index finds the rules whose literal may be in an agent.
type index struct {
	// present has a bit for the hash of each three bytes that have a bucket.
	present [1 << 16 / 64]uint64
	buckets map[[gramBytes]byte][]entry
	// expressions is how many rules have an expression.
	expressions int
}

// gramBytes is the length of what is looked up. Literals are at least as long.
const gramBytes = 3

func hash(a, b, c byte) uint32 {
	return (uint32(a) | uint32(b)<<8 | uint32(c)<<16) * 2654435761 >> 16
}

func (x *index) mayHave(a, b, c byte) bool {
	h := hash(a, b, c)
	return x.present[h/64]&(1<<(h%64)) != 0
}

// typicalAgents are what browsers send: three bytes that are in them make a bad
// bucket.
func typicalAgents() string {
	return strings.ToLower(strings.Join([]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0 OPR/123.0.0.0 Vivaldi/7.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0.0.0 FxiOS/143.0 EdgiOS/140.0 GSA/380.0 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.30",
		"Mozilla/5.0 (Linux; Android 15; SM-S921B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/480.0;]",
		"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0 (X11; CrOS x86_64 14541.0.0) Ubuntu",
		"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko DuckDuckGo/7 Ddg/17.5 YaBrowser/24.1 UCBrowser/13.4",
	}, "\n"))
}

// add puts a rule into the bucket of those of its three bytes that typical agents
// have least, and of these the emptiest.
func (x *index) add(r *rule, typical string) error {
	if len(r.lower) < gramBytes {
		return fmt.Errorf("bot: the literal %q is shorter than %d bytes", r.lower, gramBytes)
	}
	best, bestCost := 0, -1
	for i := 0; i+gramBytes <= len(r.lower); i++ {
		gram := r.lower[i : i+gramBytes]
		cost := 1000*strings.Count(typical, gram) + len(x.buckets[[gramBytes]byte([]byte(gram))])
		if bestCost < 0 || cost < bestCost {
			best, bestCost = i, cost
		}
	}
	gram := [gramBytes]byte([]byte(r.lower[best : best+gramBytes]))
	x.buckets[gram] = append(x.buckets[gram], entry{rule: r, offset: best})
	h := hash(gram[0], gram[1], gram[2])
	x.present[h/64] |= 1 << (h % 64)
	return nil
}

// addPattern adds the rules of one expression: one for each literal of which the
// expression needs any.
func (x *index) addPattern(p pattern, typical string) error {
	parsed, err := syntax.Parse(p.expression, syntax.Perl)
	if err != nil {
		return fmt.Errorf("bot: reading a pattern: %w", err)
	}
	parsed = parsed.Simplify()
	if literal, atStart, ok := plain(parsed); ok {
		return x.add(&rule{lower: strings.ToLower(literal), exact: literal, atStart: atStart, rank: p.rank}, typical)
	}
	expression, err := regexp.Compile(p.expression)
	if err != nil {
		return fmt.Errorf("bot: compiling a pattern: %w", err)
	}
	literals := required(parsed)
	if len(literals) == 0 {
		return fmt.Errorf("bot: the pattern %q needs no literal and cannot be looked up", p.expression)
	}
	for _, literal := range literals {
		r := &rule{lower: strings.ToLower(literal), expression: expression, number: x.expressions, rank: p.rank}
		if err := x.add(r, typical); err != nil {
			return err
		}
	}
	x.expressions++
	return nil
}

// plain reports the literal of an expression that is nothing else, or nothing else
// behind the beginning of the text.
func plain(re *syntax.Regexp) (literal string, atStart, ok bool) {
	if re.Op == syntax.OpConcat && len(re.Sub) == 2 && re.Sub[0].Op == syntax.OpBeginText {
		re, atStart = re.Sub[1], true
	}
	if re.Op != syntax.OpLiteral || re.Flags&syntax.FoldCase != 0 {
		return "", false, false
	}
	return string(re.Rune), atStart, true
}

// required returns literals of which a text that matches has at least one, in some
// letter case; none when there are no such literals of gramBytes or more. Folding
// is ASCII's: the lists have no other letters (TestPatternsAreASCII).
func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if len(re.Rune) < gramBytes {
			return nil
		}
		return []string{string(re.Rune)}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if got := required(sub); shortest(got) > shortest(best) {
				best = got
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			got := required(sub)
			if got == nil {
				return nil
			}
			all = append(all, got...)
		}
		return all
	default: // may be empty, or is no text
	}
	return nil
}

// shortest is the length of the shortest of some literals; 0 for none.
func shortest(literals []string) int {
	n := 0
	for _, l := range literals {
		if n == 0 || len(l) < n {
			n = len(l)
		}
	}
	return n
}
