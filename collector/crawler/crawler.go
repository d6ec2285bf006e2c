package crawler

import "bytes"

const (
	wordBot     = "bot"
	wordCrawler = "crawler"
	wordSpider  = "spider"
	// wordsMax is how many words are looked at closely: an agent of nothing else
	// would cost more than the request it came with.
	wordsMax = 8
)

// NamesItself reports whether the agent names itself a bot, a crawler or a spider.
// Letter case does not matter. It looks for the letters that browsers write seldom:
// the b of bot, and the r on which the other two end.
func NamesItself(agent []byte) bool {
	words := 0
	return anyNamed(agent, 'b', &words) || anyNamed(agent, 'r', &words) ||
		anyNamed(agent, 'B', &words) || anyNamed(agent, 'R', &words)
}

// anyNamed looks closer at the words that have the letter, and counts them.
func anyNamed(agent []byte, letter byte, words *int) bool {
	for next := 0; ; {
		i := bytes.IndexByte(agent[next:], letter)
		if i < 0 {
			return false
		}
		i += next
		next = i + 1
		from, to := wordAt(agent, i)
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
}

// wordAt is the word that begins with the b or ends with the r at i; an empty one
// if there is none.
func wordAt(agent []byte, i int) (from, to int) {
	switch end := i + 1; {
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
