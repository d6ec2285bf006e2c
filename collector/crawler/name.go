package crawler

// isName reports whether the word at agent[from:to] ends a name by which a machine
// introduces itself.
func isName(agent []byte, from, to int) bool {
	if to < len(agent) && isLetter(agent[to]) {
		return false // bottom, robots, SpiderSolitaire
	}
	begin := from
	for begin > 0 && !separates(agent[begin-1]) {
		begin--
		if agent[begin] == '/' {
			return false // in an address, or a version
		}
	}
	end := to
	for end < len(agent) && isNamePart(agent[end]) {
		end++
	}
	if begin == from && end > to {
		return false // Spider-Man, bot.example: not what it is, but of what
	}
	if isMail(agent, end) || hasWord(agent, begin, "www.") || isPhone(agent, begin, from) {
		return false
	}
	open, stop := comment(agent, from)
	if open >= 0 && introduces(agent[open:stop], from-open) {
		return true
	}
	if isApp(agent, from) {
		return false
	}
	if hasVersion(agent, end) {
		return open >= 0 || !isShowingPages(agent)
	}
	return open < 0 && !hasWord(agent, 0, "mozilla/") && (begin < from || endsName(agent, end))
}

// separates reports whether b stands between names.
func separates(b byte) bool {
	switch b {
	case ' ', '\t', ';', ',', '(', ')', '[', ']', '<', '>', '"', '\'':
		return true
	}
	return false
}

// isNamePart reports whether b goes on with a name behind one of the words:
// Googlebot-Image, Pingdom.com_bot_version_1.4.
func isNamePart(b byte) bool {
	return isLetter(b) || isDigit(b) || b == '-' || b == '_' || b == '.'
}

// isMail reports whether what ends at end is the beginning of an e-mail address.
func isMail(agent []byte, end int) bool {
	for ; end < len(agent) && !separates(agent[end]); end++ {
		if agent[end] == '@' {
			return true
		}
	}
	return false
}

// isPhone reports whether the word is the end of CUBOT, which makes telephones.
func isPhone(agent []byte, begin, from int) bool {
	return hasWord(agent, from-2, "cubot") && (from-2 == begin || !isLetter(agent[from-3]))
}

// isApp reports whether the word is the end of robot or chatbot, by which apps for
// people are called as well.
func isApp(agent []byte, from int) bool {
	return hasWord(agent, from-2, "robot") || hasWord(agent, from-4, "chatbot")
}

// hasVersion reports whether a version follows: "/2.1" or "/v1.4.8".
func hasVersion(agent []byte, at int) bool {
	if at+1 >= len(agent) || agent[at] != '/' {
		return false
	}
	if at++; toLower(agent[at]) == 'v' {
		at++
	}
	return at < len(agent) && isDigit(agent[at])
}

// endsName reports whether nothing goes on with the name: the end of the agent, or
// a comment.
func endsName(agent []byte, at int) bool {
	for at < len(agent) && (agent[at] == ' ' || agent[at] == '+') {
		at++
	}
	return at == len(agent) || agent[at] == '('
}

// comment finds the brackets around at: the first byte behind the opening one, or
// -1 outside of any, and the closing one or the agent's end.
func comment(agent []byte, at int) (open, stop int) {
	for open = at; open > 0 && agent[open-1] != '('; open-- {
		if agent[open-1] == ')' {
			return -1, len(agent)
		}
	}
	if open == 0 {
		return -1, len(agent)
	}
	for stop = at; stop < len(agent) && agent[stop] != ')'; stop++ {
		continue
	}
	return open, stop
}

// introduces reports whether a comment is where a program says what it is: it has
// an address to read more at, or the word at is behind "compatible;", which only
// Internet Explorer and Konqueror among browsers say of themselves.
func introduces(comment []byte, at int) bool {
	const compatible = "compatible;"
	for i := range comment {
		switch {
		case hasWord(comment, i, "+http"):
			return true
		case i < at && hasWord(comment, i, compatible):
			i += len(compatible)
			for i < at && comment[i] == ' ' {
				i++
			}
			if !hasWord(comment, i, "msie") && !hasWord(comment, i, "konqueror") {
				return true
			}
		}
	}
	return false
}

// isShowingPages reports whether the agent is of an app that shows pages: the
// system's browser without its own name, and the app's behind it.
func isShowingPages(agent []byte) bool {
	apple, safari := false, false
	for i := range agent {
		switch {
		case hasWord(agent, i, "; wv)"):
			return true
		case hasWord(agent, i, "like mac os x"):
			apple = true
		case hasWord(agent, i, "safari/"):
			safari = true
		}
	}
	return apple && !safari
}
