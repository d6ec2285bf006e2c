package crawler

import (
	"encoding/binary"
	"math/bits"
)

// The words, found by two letters that browsers seldom write in a row: "bo", and
// "er", on which the longer two end.
const (
	wordBot     = "bot"
	wordCrawler = "crawler"
	wordSpider  = "spider"
)

const (
	// windowBytes hold eight pairs of letters.
	windowBytes = 9
	// wordsMax is how many words are looked at closely: an agent of nothing else
	// would cost more than the request it came with.
	wordsMax = 8
)

// NamesItself reports whether the agent names itself a bot, a crawler or a spider.
// Letter case does not matter.
func NamesItself(agent []byte) bool {
	words := 0
	if len(agent) < windowBytes {
		var window [windowBytes]byte
		copy(window[:], agent)
		return anyNamed(agent, 0, pairs(window[:]), &words)
	}
	rest := agent
	for ; len(rest) > windowBytes; rest = rest[windowBytes-1:] {
		if found := pairs(rest); found != 0 && anyNamed(agent, len(agent)-len(rest), found, &words) {
			return true
		}
	}
	last := len(agent) - windowBytes
	return anyNamed(agent, last, pairs(agent[last:]), &words)
}

// pairs looks for the two pairs of letters in eight places at once, and returns a
// bit for each byte that may begin one. It may find too many, never too few.
func pairs(window []byte) uint64 {
	const (
		every = 0x0101010101010101
		lower = 0x20 * every
	)
	_ = window[windowBytes-1]
	first, second := binary.LittleEndian.Uint64(window)|lower, binary.LittleEndian.Uint64(window[1:])|lower
	bo, er := first^'b'*every|second^'o'*every, first^'e'*every|second^'r'*every
	// A zero byte becomes one with its highest bit set, and so may one above it.
	return ((bo-every)&^bo | (er-every)&^er) & (0x80 * every)
}

// anyNamed looks closer at the places that pairs found behind at, and counts the
// words there.
func anyNamed(agent []byte, at int, found uint64, words *int) bool {
	for ; found != 0; found &= found - 1 {
		from, to := wordAt(agent, at+bits.TrailingZeros64(found)/8)
		if from == to {
			continue
		}
		if *words++; *words > wordsMax {
			return false
		}
		if isName(agent, from, to) {
			return true
		}
	}
	return false
}

// wordAt is the word whose pair of letters may be at i; an empty one if it is not.
func wordAt(agent []byte, i int) (from, to int) {
	const er = len("er")
	switch end := i + er; {
	case hasWord(agent, i, wordBot):
		return i, i + len(wordBot)
	case hasWord(agent, end-len(wordSpider), wordSpider):
		return end - len(wordSpider), end
	case hasWord(agent, end-len(wordCrawler), wordCrawler):
		return end - len(wordCrawler), end
	}
	return 0, 0
}

// hasWord reports whether the agent has the word, in lower case, at i.
func hasWord(agent []byte, i int, word string) bool {
	if i < 0 || i+len(word) > len(agent) {
		return false
	}
	for j := range len(word) {
		if toLower(agent[i+j]) != word[j] {
			return false
		}
	}
	return true
}

func toLower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func isLetter(b byte) bool { b = toLower(b); return 'a' <= b && b <= 'z' }

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
