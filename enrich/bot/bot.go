package bot

import (
	"bytes"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// agentBytesMax is as much of an agent as the collector seals.
const agentBytesMax = 512

// Classifier is the compiled lists. It is immutable and safe for concurrent use.
type Classifier struct {
	index   index
	classes []metivav1.BotClass
	mail    map[uint32]bool
}

// NewClassifier compiles the lists. An error is a fault of the lists.
func NewClassifier() (*Classifier, error) {
	c := &Classifier{index: index{buckets: make(map[[gramBytes]byte][]entry)}, classes: ranks()}
	patterns, err := readPatterns(crawlersTSV)
	if err != nil {
		return nil, err
	}
	typical := typicalAgents()
	for _, p := range patterns {
		if err := c.index.addPattern(p, typical); err != nil {
			return nil, err
		}
	}
	for rank, class := range c.classes {
		for _, l := range lists() {
			if l.class != class {
				continue
			}
			for _, literal := range l.literals {
				if err := c.index.add(&rule{lower: literal, rank: rank}, typical); err != nil {
					return nil, err
				}
			}
		}
	}
	if c.index.expressions > triedMax {
		return nil, errTooManyExpressions
	}
	if c.mail, err = readMailScanners(mailScannersTSV); err != nil {
		return nil, err
	}
	return c, nil
}

// Classify returns the class of an agent; BOT_CLASS_NONE is a browser. It
// does not change, keep or copy the agent beyond the call, and does not
// allocate.
func (c *Classifier) Classify(agent []byte) metivav1.BotClass {
	var buf [agentBytesMax]byte
	defer clear(buf[:])
	agent = bytes.TrimSpace(agent)
	agent = agent[:min(len(agent), agentBytesMax)]
	lower := buf[:copy(buf[:], agent)]
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	if len(lower) == 0 {
		return metivav1.BotClass_BOT_CLASS_NO_AGENT
	}
	switch rank := c.index.find(agent, lower, len(c.classes)); {
	case rank < len(c.classes):
		return c.classes[rank]
	case namesBot(lower):
		return metivav1.BotClass_BOT_CLASS_OTHER
	case !isBrowserLike(lower):
		return metivav1.BotClass_BOT_CLASS_NO_AGENT
	case isIntroduction(lower):
		return metivav1.BotClass_BOT_CLASS_OTHER
	}
	return metivav1.BotClass_BOT_CLASS_NONE
}

// tried notes which expressions were compared with an agent.
type tried [2]uint64

const triedMax = 2 * 64

// first reports whether the expression was not tried before, and notes it.
func (t *tried) first(number int) bool {
	word, bit := number/64, uint64(1)<<(number%64)
	before := t[word] & bit
	t[word] |= bit
	return before == 0
}

// find returns the lowest rank of the rules that match, or none.
func (x *index) find(agent, lower []byte, none int) int {
	var done tried
	best := none
	for i := 0; i+gramBytes <= len(lower); i++ {
		if !x.mayHave(lower[i], lower[i+1], lower[i+2]) {
			continue
		}
		for _, e := range x.buckets[[gramBytes]byte(lower[i:i+gramBytes])] {
			if e.rule.rank < best && e.rule.isAt(agent, lower, i-e.offset, &done) {
				best = e.rule.rank
			}
		}
	}
	return best
}

// isAt reports whether the rule's literal is at that place, and its expression, if
// it has one, matches the agent.
func (r *rule) isAt(agent, lower []byte, at int, done *tried) bool {
	end := at + len(r.lower)
	if at < 0 || end > len(lower) || r.atStart && at > 0 || string(lower[at:end]) != r.lower {
		return false
	}
	if r.exact != "" && string(agent[at:end]) != r.exact {
		return false
	}
	return r.expression == nil || done.first(r.number) && r.expression.Match(agent)
}

// isIntroduction reports whether the agent introduces a program by its address
// ("+https://…") or as "compatible" with a browser. Of browsers, only Internet
// Explorer and Konqueror did the latter.
func isIntroduction(agent []byte) bool {
	if bytes.Contains(agent, []byte("+http")) {
		return true
	}
	_, after, ok := bytes.Cut(agent, []byte("compatible; "))
	return ok && !bytes.HasPrefix(after, []byte("msie")) && !bytes.HasPrefix(after, []byte("konqueror"))
}

// namesBot reports whether "bot" ends a word: "FooBot/1.0", "bot;". Cubot is a
// maker of telephones.
func namesBot(agent []byte) bool {
	const word = "bot"
	for from := 0; ; {
		i := bytes.Index(agent[from:], []byte(word))
		if i < 0 {
			return false
		}
		i += from
		from = i + len(word)
		if from < len(agent) && 'a' <= agent[from] && agent[from] <= 'z' {
			continue
		}
		if !bytes.HasSuffix(agent[:i], []byte("cu")) {
			return true
		}
	}
}

// isBrowserLike reports whether a browser could send the agent: all current
// ones begin with "Mozilla/", some old telephones with their maker.
func isBrowserLike(agent []byte) bool {
	for _, begin := range [...]string{"mozilla/", "opera/", "ucweb/", "nokia", "blackberry", "sonyericsson", "samsung"} {
		if len(agent) >= len(begin) && string(agent[:len(begin)]) == begin {
			return true
		}
	}
	return false
}
