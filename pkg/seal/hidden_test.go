package seal

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// shownBy renders a value in every way a careless line of code could.
func shownBy(t *testing.T, v any) map[string]string {
	t.Helper()
	out := map[string]string{}
	for verb := rune('!'); verb <= '~'; verb++ {
		for _, flags := range []string{"", "+", "#", " ", "-20", "020", "+#"} {
			format := "%" + flags + string(verb)
			out[format] = fmt.Sprintf(format, v)
		}
	}
	out["Sprint"], out["Errorf"] = fmt.Sprint(v), fmt.Errorf("wrapped: %v", v).Error()
	if raw, err := json.Marshal(v); err == nil {
		out["json"] = string(raw)
	}
	if raw, err := xml.Marshal(v); err == nil {
		out["xml"] = string(raw)
	}
	var gobbed bytes.Buffer
	if err := gob.NewEncoder(&gobbed).Encode(v); err == nil {
		out["gob"] = gobbed.String()
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "v", v)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "v", v)
	out["slog"] = logged.String()
	return out
}

func TestNothingShowsAnAddress(t *testing.T) {
	t.Parallel()
	for _, ip := range []string{"145.221.173.91", "2001:db8:c0fe:d00d::77"} {
		raw := netip.MustParseAddr(ip)
		scratch := NewScratch()
		a := AddressOf(raw, scratch)
		network, err := truncatedFrom(a.v.get().bytes[:])
		if err != nil {
			t.Fatal(err)
		}
		needles := []string{
			ip, "145.221.173", "[145 221 173", "145 221", "0x91, 0xdd, 0xad", "91 dd ad", "91ddad",
			"2001:db8:c0fe", "20010db8c0fe", "32 1 13 184", "0x20, 0x1, 0xd, 0xb8", string(raw.AsSlice()[:3]),
		}
		for name, v := range map[string]any{
			"Address": a, "*Address": &a, "Scratch": *scratch, "*Scratch": scratch,
			"in a struct": struct{ From Address }{a}, "in a slice": []Address{a}, "in a map": map[string]Address{"a": a},
			"Truncated": network, "*Truncated": &network, "Truncated in a struct": struct{ From Truncated }{network},
		} {
			for how, text := range shownBy(t, v) {
				for _, needle := range needles {
					if strings.Contains(strings.ToLower(text), needle) {
						t.Errorf("%s shown by %s holds %q: %s", name, how, needle, text)
					}
				}
			}
		}
	}
}

func TestAddressHasNoWayOut(t *testing.T) {
	t.Parallel()
	for _, typ := range []reflect.Type{reflect.TypeFor[Address](), reflect.TypeFor[*Address](), reflect.TypeFor[Scratch](), reflect.TypeFor[*Scratch]()} {
		for i := range typ.NumMethod() {
			switch name := typ.Method(i).Name; name {
			case "IsValid", "WriteNetworkTo", "Forget":
			default:
				t.Errorf("%s has the method %s", typ, name)
			}
		}
		if typ.Kind() == reflect.Struct && typ.Comparable() {
			t.Errorf("%s can be compared", typ)
		}
	}
}

func TestNothingShowsAKey(t *testing.T) {
	t.Parallel()
	priv := newPrivateKey(t)
	raw, err := (*priv.key.get()).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	material := KeyMaterial{Purpose: PurposeResolverPrivate, raw: veilOf(raw)}
	for name, v := range map[string]any{
		"PrivateKey": priv, "*PrivateKey": &priv, "KeyMaterial": material, "*KeyMaterial": &material,
		"in a struct": struct{ K KeyMaterial }{material},
	} {
		for how, text := range shownBy(t, v) {
			for _, needle := range []string{hex.EncodeToString(raw[:4]), string(raw[:4]), strings.Trim(fmt.Sprintf("%d", raw[:4]), "[]")} {
				if strings.Contains(text, needle) {
					t.Errorf("%s shown by %s holds the key", name, how)
				}
			}
		}
	}
}

// TestNothingShowsADataKey: neither what holds data keys, nor what became of
// them, shows one in any way a careless line could print it.
func TestNothingShowsADataKey(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	subject, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := subject.SealField(nil, formBinding("email"), []byte("a@b.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.opener.OpenField(nil, formBinding("email"), blob); err != nil {
		t.Fatal(err) // the key is unwrapped in the opener now
	}
	var needles []string
	for _, rec := range p.published {
		raw, err := p.private.unwrap(dataKeyInfo(rec), rec.GetWrapped())
		if err != nil {
			t.Fatal(err)
		}
		needles = append(needles, string(raw[:4]), hex.EncodeToString(raw[:4]), strings.Trim(fmt.Sprintf("%d", raw[:4]), "[]"))
	}
	for name, v := range map[string]any{"Sealer": p.Sealer, "SubjectKey": subject, "Opener": p.opener, "in a struct": struct{ K *SubjectKey }{subject}} {
		for how, text := range shownBy(t, v) {
			for _, needle := range needles {
				if strings.Contains(text, needle) {
					t.Errorf("%s shown by %s holds a key", name, how)
				}
			}
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", subject, subject, subject, subject); strings.Trim(text, "* ") != "" {
		t.Errorf("a subject key prints as %s", text)
	}
}

func TestMappedAddressIsItsIPv4Network(t *testing.T) {
	t.Parallel()
	a, b := addressOf(t, "::ffff:192.0.2.1"), addressOf(t, "192.0.2.200")
	if a.v.get().bytes != b.v.get().bytes {
		t.Error("a mapped address and its IPv4 form differ")
	}
	if AddressOf(netip.Addr{}, NewScratch()).IsValid() || (Address{}).IsValid() {
		t.Error("no address is valid")
	}
	scratch := NewScratch()
	c := AddressOf(netip.MustParseAddr("192.0.2.1"), scratch)
	scratch.Forget()
	if c.IsValid() {
		t.Error("a forgotten address is still there")
	}
}
