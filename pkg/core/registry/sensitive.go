package registry

import (
	"strings"

	"github.com/metiva-io/metiva/schemas"
)

// personal reports whether a custom event's property would hold a detail of a
// person.
func personal(name string) bool {
	whole := strings.Join(schemas.NameWords(name), "")
	for _, p := range [...]string{
		"email", "emailaddress", "emailadres", "mail", "phone", "phonenumber", "telefoon", "telefoonnummer", "mobile", "mobiel",
		"firstname", "lastname", "fullname", "surname", "voornaam", "achternaam", "username", "userid", "ip", "ipaddress", "ipadres",
	} {
		if whole == p {
			return true
		}
	}
	return false
}
