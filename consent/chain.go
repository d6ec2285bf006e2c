package consent

import (
	"errors"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Chain gives the records of one tenant and writer their places, from position
// 1. It is not safe for concurrent use.
type Chain struct {
	companyID, id string
	position      uint64
	head          Hash
}

// NewChain begins the chain of a writer's run. The id must not have been used
// before for this tenant.
func NewChain(companyID, chainID string) *Chain {
	return &Chain{companyID: companyID, id: chainID}
}

// errForeignRecord: a chain proves what one tenant's visitors chose.
var errForeignRecord = errors.New("consent: the record is another tenant's")

// Append makes a record the next link: it sets schema version, chain fields and
// hash. The record must not be changed afterwards.
func (c *Chain) Append(rec *metivav1.ConsentRecord) error {
	if rec.GetCompanyId() != c.companyID {
		return errForeignRecord
	}
	c.position++
	rec.SchemaVersion = RecordSchemaVersion
	rec.ChainId, rec.ChainPosition, rec.PreviousSha256 = c.id, c.position, nil
	if c.position > 1 {
		rec.PreviousSha256 = append([]byte(nil), c.head[:]...)
	}
	c.head = RecordHash(rec)
	rec.RecordSha256 = append([]byte(nil), c.head[:]...)
	return nil
}
