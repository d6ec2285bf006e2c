// Package tcf reads the TC string of IAB Europe's Transparency and Consent
// Framework, versions 2.2 and 2.3, and answers one question: does it grant
// analytics to a vendor?
//
// Enters: the text a page reports. Leaves: a String, which keeps the text and
// looks into it when asked; nothing is copied or allocated. The core segment
// (purposes, vendors as bit field or ranges, publisher restrictions) and the
// disclosed vendors are read; other segments are checked for their alphabet
// and skipped.
//
// A string that breaks the format, or exceeds StringBytesMax, SegmentsMax or
// VendorIDMax, is an error and never half a String. Errors name the fault, never
// the text. A TC string is a claim by the page: it is not signed, and nothing
// here makes it proof.
//
// Source: IAB Tech Lab, "Transparency and Consent String with Global Vendor &
// CMP List Formats", version 2 with the changes of 2.2 (2023) and 2.3 (2025).
package tcf
