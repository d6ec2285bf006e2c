package schemas

// TenantBuckets is the number of buckets tenants are spread over. It is part
// of the stored data (partition keys of events.enriched and of the ClickHouse
// tables): changing it means rewriting both.
const TenantBuckets = 16

// TenantBucket is the bucket of a tenant, 0 to TenantBuckets-1: 64-bit FNV-1a
// of the company id, folded, modulo TenantBuckets.
func TenantBucket(companyID string) uint8 {
	return uint8(fnv1a(companyID) % TenantBuckets)
}

// EventPartition is the partition of an event on events.collected and
// events.enriched when the topic has partitions partitions. Partitions must be
// a multiple of TenantBuckets: a partition then holds one bucket only, and all
// events of a visit share a partition.
func EventPartition(companyID string, visitKey []byte, partitions int) int {
	return EventPartitionIn(TenantBucket(companyID), visitKey, partitions)
}

// EventPartitionIn is EventPartition for a tenant whose bucket is known.
func EventPartitionIn(bucket uint8, visitKey []byte, partitions int) int {
	spread := partitions / TenantBuckets
	if spread <= 1 {
		return int(bucket)
	}
	return int(bucket)*spread + int(fnv1a(visitKey)%uint64(spread))
}

// VisitPartition is the partition of a visit on visits.enriched, as
// EventPartition's: all visits of an account share one, and those without an account
// go by their visit key.
func VisitPartition(companyID, accountID string, visitKey []byte, partitions int) int {
	if accountID != "" {
		return EventPartition(companyID, []byte(accountID), partitions)
	}
	return EventPartition(companyID, visitKey, partitions)
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// fnv1a is FNV-1a without the allocation of hash/fnv, folded to its upper half:
// the low bits of plain FNV-1a depend on the low bits of the input only.
func fnv1a[T string | []byte](s T) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h ^= uint64(s[i])
		h *= fnvPrime
	}
	return h ^ h>>32
}

// ConsentPartition is the partition of a tenant's consent records on
// consent.records. All of a tenant's are in one: retention then cuts a chain at
// its beginning only, and a subject's records stay in their order.
func ConsentPartition(companyID string, partitions int) int {
	return int(fnv1a(companyID) % uint64(partitions))
}
