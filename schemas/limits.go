package schemas

// Limits of the envelope. A stage may be stricter, never laxer; a record that
// breaks one is an invalid record.
const (
	IDBytes = 16 // event id, visit key, visitor id

	HostBytesMax          = 253  // longest DNS name (RFC 1035)
	PathBytesMax          = 1024 // longer paths are cut at the edge
	CampaignFieldBytesMax = 128
	SealedAddressBytesMax = 96
	// A user agent is cut to 512 bytes before it is sealed.
	SealedUserAgentBytesMax = 640
	RecordBytesMax          = 8 << 10

	// Of a form's capture. Lengths of a field are those before it is sealed.
	FormFieldsMax         = 32
	FormFieldNameBytesMax = 64
	FormFieldBytesMax     = 4 << 10
	CaptureBytesMax       = 64 << 10 // the whole record of a capture

	FormIDBytesMax = 64

	// Of a custom event.
	CustomNameBytesMax     = 64
	CustomPropertiesMax    = 16
	PropertyNameBytesMax   = 64
	PropertyValueBytesMax  = 256
	VisibleMsMax           = 24 * 60 * 60 * 1000
	ScrollPercentMax       = 100
	TargetPathBytesMax     = PathBytesMax
	ConsentTextsMax        = 64 // of a site
	FormsMax               = 64 // of a site
	RedirectURLsMax        = 16 // of a form
	RedirectURLBytesMax    = 1024
	CustomPropertyNamesMax = 64 // of a site
)
