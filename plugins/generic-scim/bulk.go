package scim

import "encoding/json"

// bulkOperation is one operation of a Bulk request.
type bulkOperation struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`
	BulkID string          `json:"bulkId,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}
