package collector

import "bytes"

// browserFamily tells visitors behind one network apart a little. It goes into
// the visit key only; the user agent itself is sealed.
type browserFamily byte

const (
	familyNone browserFamily = iota
	familyOther
	familyEdge
	familyOpera
	familySamsung
	familyVivaldi
	familyFirefox
	familyChrome
	familySafari
)

// familyMarks is in the order of looking: browsers name those they imitate too,
// and imitate those below them.
var familyMarks = [...]struct {
	mark   string
	family browserFamily
}{
	{"Edg", familyEdge}, // Edg/, EdgA/, EdgiOS/, Edge/
	{"OPR/", familyOpera},
	{"SamsungBrowser/", familySamsung},
	{"Vivaldi/", familyVivaldi},
	{"Firefox/", familyFirefox},
	{"FxiOS/", familyFirefox},
	{"CriOS/", familyChrome},
	{"Chrome/", familyChrome},
	{"Safari/", familySafari},
}

func familyOf(userAgent []byte) browserFamily {
	if len(userAgent) == 0 {
		return familyNone
	}
	// Nearly all marks stand behind the last comment, where there is little to look
	// through; Edg must be looked for first, and stands behind the others.
	if end := bytes.LastIndexByte(userAgent, ')'); end >= 0 {
		if family := markedFamily(userAgent[end:]); family != familyOther {
			return family
		}
	}
	return markedFamily(userAgent)
}

// markedFamily is the family of the first mark, in their order, that stands
// anywhere in a text: one look at it for all of them, by their first letter.
func markedFamily(text []byte) browserFamily {
	first := len(familyMarks)
	for i, c := range text {
		switch c {
		case 'E', 'O', 'S', 'V', 'F', 'C':
			for m, known := range familyMarks[:first] {
				if known.mark[0] == c && len(text)-i >= len(known.mark) && string(text[i:i+len(known.mark)]) == known.mark {
					first = m
					break
				}
			}
		}
	}
	if first == len(familyMarks) {
		return familyOther
	}
	return familyMarks[first].family
}
