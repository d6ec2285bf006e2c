package bot

import (
	"bytes"
	"slices"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// agentBytesMax is as much of an agent as the collector seals.
const agentBytesMax = 512

// Classifier is the compiled list. It is immutable and safe for concurrent
// use.
type Classifier struct {
	// byFirst holds the rules by the first byte of their literal, so that one
	// pass over the agent compares few of them.
	byFirst [256][]rule
}

type rule struct {
	literal string
	class   metivav1.BotClass
	// rank orders the classes when several rules match; the lowest wins.
	rank int
}

// NewClassifier compiles the list.
func NewClassifier() *Classifier {
	c := new(Classifier)
	for rank, group := range lists() {
		for _, literal := range group.literals {
			first := literal[0]
			c.byFirst[first] = append(c.byFirst[first], rule{literal: literal, class: group.class, rank: rank})
		}
	}
	for i := range c.byFirst {
		slices.SortStableFunc(c.byFirst[i], func(a, b rule) int { return a.rank - b.rank })
	}
	return c
}

// Classify returns the class of an agent; BOT_CLASS_NONE is a browser. It
// does not change, keep or copy the agent beyond the call, and does not
// allocate.
func (c *Classifier) Classify(agent []byte) metivav1.BotClass {
	var buf [agentBytesMax]byte
	defer clear(buf[:])
	lower := buf[:copy(buf[:], bytes.TrimSpace(agent))]
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	if len(lower) == 0 {
		return metivav1.BotClass_BOT_CLASS_NO_AGENT
	}
	const none = 1 << 10
	rank, class := none, metivav1.BotClass_BOT_CLASS_NONE
	for i, b := range lower {
		for _, r := range c.byFirst[b] {
			if r.rank >= rank {
				break
			}
			if len(lower)-i >= len(r.literal) && string(lower[i:i+len(r.literal)]) == r.literal {
				rank, class = r.rank, r.class
			}
		}
		if rank == none && b == 'b' && isGenericBot(lower, i) {
			rank, class = none-1, metivav1.BotClass_BOT_CLASS_OTHER
		}
	}
	switch {
	case rank != none:
		return class
	case !isBrowserLike(lower):
		return metivav1.BotClass_BOT_CLASS_NO_AGENT
	case isIntroduction(lower):
		return metivav1.BotClass_BOT_CLASS_OTHER
	}
	return class
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

// isGenericBot reports whether "bot" at i ends a word: "FooBot/1.0", "bot;".
// Cubot is a maker of telephones.
func isGenericBot(agent []byte, i int) bool {
	if !bytes.HasPrefix(agent[i:], []byte("bot")) {
		return false
	}
	if end := i + len("bot"); end < len(agent) && 'a' <= agent[end] && agent[end] <= 'z' {
		return false
	}
	return !bytes.HasSuffix(agent[:i], []byte("cu"))
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
