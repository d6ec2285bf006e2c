package geo

import "github.com/oschwald/maxminddb-golang/v2/mmdbdata"

// placeRecord is the nested country and subdivisions of MaxMind's layouts.
type placeRecord struct {
	Country      place      `maxminddb:"country"`
	Subdivisions firstPlace `maxminddb:"subdivisions"`
}

type enterpriseRecord struct {
	placeRecord

	Traits traits `maxminddb:"traits"`
}

// place is a map with an ISO code. Here and below: what has another type than the
// layout says is empty, and the fields beside it count.
type place struct {
	ISOCode text
}

// UnmarshalMaxMindDBCursor reads a map, or skips what is none.
func (p *place) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	return readFields(c, func(key string) *text {
		if key == "iso_code" {
			return &p.ISOCode
		}
		return nil
	})
}

// firstPlace is the first of a list of places: the subdivision that is not part of
// another.
type firstPlace struct {
	place
}

// UnmarshalMaxMindDBCursor reads a list, or skips what is none.
func (p *firstPlace) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	if kind, err := c.Kind(); err != nil || kind != mmdbdata.KindSlice {
		return skip(c, err)
	}
	list, err := c.Slice()
	if err != nil {
		return c, err
	}
	var after mmdbdata.Cursor
	for first := true; ; first = false {
		_, each, ok := list.Next(after)
		if !ok {
			break
		}
		if first {
			after, err = p.place.UnmarshalMaxMindDBCursor(each)
		} else {
			after, err = each.Skip()
		}
		if err != nil {
			return c, err
		}
	}
	return list.End()
}

// traits is what GeoIP2 Enterprise says of a network.
type traits struct {
	ASN, ASOrganization, ISP, Organization, Domain, UserType, Connection, MobileCountry, MobileNetwork text

	Anonymous, AnonymousProxy, VPN, Hosting, PublicProxy, Residential, Tor text
}

// UnmarshalMaxMindDBCursor reads a map, or skips what is none.
func (t *traits) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	return readFields(c, t.field)
}

func (t *traits) field(key string) *text {
	switch key {
	case "autonomous_system_number":
		return &t.ASN
	case "autonomous_system_organization":
		return &t.ASOrganization
	case "isp":
		return &t.ISP
	case "organization":
		return &t.Organization
	case "domain":
		return &t.Domain
	case "user_type":
		return &t.UserType
	case "connection_type":
		return &t.Connection
	case "mobile_country_code":
		return &t.MobileCountry
	case "mobile_network_code":
		return &t.MobileNetwork
	case "is_anonymous":
		return &t.Anonymous
	case "is_anonymous_proxy":
		return &t.AnonymousProxy
	case "is_anonymous_vpn":
		return &t.VPN
	case "is_hosting_provider":
		return &t.Hosting
	case "is_public_proxy":
		return &t.PublicProxy
	case "is_residential_proxy":
		return &t.Residential
	case "is_tor_exit_node":
		return &t.Tor
	}
	return nil
}

// readFields reads the values of a map into what field has for their keys; nil
// skips one.
func readFields(c mmdbdata.Cursor, field func(key string) *text) (mmdbdata.Cursor, error) {
	if kind, err := c.Kind(); err != nil || kind != mmdbdata.KindMap {
		return skip(c, err)
	}
	fields, err := c.Map()
	if err != nil {
		return c, err
	}
	var after mmdbdata.Cursor
	for {
		key, value, ok := fields.Next(after)
		if !ok {
			break
		}
		if into := field(string(key)); into != nil {
			after, err = into.UnmarshalMaxMindDBCursor(value)
		} else {
			after, err = value.Skip()
		}
		if err != nil {
			return c, err
		}
	}
	return fields.End()
}

func skip(c mmdbdata.Cursor, err error) (mmdbdata.Cursor, error) {
	if err != nil {
		return c, err
	}
	return c.Skip()
}
