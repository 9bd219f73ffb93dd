package keycloak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// Attributes that this package writes besides metadata.
const (
	attrPhone           = "phoneNumber"
	attrPhoneVerified   = "phoneNumberVerified"
	attrOtherEmails     = "otherEmails"
	attrOtherIdentities = "otherIdentities"
	attrMetadata        = "metadata"
)

func attributes(u *sdk.User, otherIdentities []string) map[string][]string {
	out := metadataAttributes(u.Metadata)
	if u.Phone != "" {
		out[attrPhone] = []string{u.Phone}
		if u.PhoneVerified != nil {
			out[attrPhoneVerified] = []string{fmt.Sprint(*u.PhoneVerified)}
		}
	}
	for _, a := range u.OtherEmails {
		out[attrOtherEmails] = append(out[attrOtherEmails], a.Email)
	}
	if len(otherIdentities) > 0 {
		out[attrOtherIdentities] = otherIdentities
	}
	return out
}

func metadataAttributes(raw json.RawMessage) map[string][]string {
	out := map[string][]string{}
	if len(raw) == 0 {
		return out
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		out[attrMetadata] = []string{compact(raw)} // valid JSON or not, it is what the application stored
		return out
	}
	for key, value := range object {
		out[attrMetadata+"."+key] = attributeValues(value)
	}
	return out
}

func attributeValues(raw json.RawMessage) []string {
	if v, ok := scalar(raw); ok {
		return []string{v}
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return []string{compact(raw)}
	}
	values := make([]string, len(list))
	for i, item := range list {
		v, ok := scalar(item)
		if !ok {
			return []string{compact(raw)}
		}
		values[i] = v
	}
	return values
}

// scalar gives the text of a string, number or boolean. A string with a NUL,
// which PostgreSQL cannot store, stays JSON.
func scalar(raw json.RawMessage) (string, bool) {
	switch raw[0] {
	case '{', '[', 'n':
		return "", false
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, 0) {
			return string(raw), true
		}
		return s, true
	default:
		return string(raw), true // digits as they stand: no float can round them
	}
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// ours reports whether a load owns the attribute. Others are left alone and
// never compared.
func ours(name string) bool {
	switch name {
	case attrPhone, attrPhoneVerified, attrOtherEmails, attrOtherIdentities, attrMetadata:
		return true
	}
	return strings.HasPrefix(name, attrMetadata+".")
}

// sorted is how values are compared: the server does not keep their order.
func sorted(values []string) []string { return slices.Sorted(slices.Values(values)) }
