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
)
