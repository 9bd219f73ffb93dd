package supertokens

// The stable codes of findings. An operator sees each with a count and example
// ids; scripts match on them.
const (
	WarnFakeEmail              = "fake_email"
	WarnMixedCaseEmail         = "mixed_case_email"
	WarnDuplicateEmail         = "duplicate_email"
	WarnDuplicatePhone         = "duplicate_phone"
	WarnDuplicateThirdParty    = "duplicate_third_party"
	WarnOrphanRow              = "orphan_row"
	WarnForcedMapping          = "forced_mapping"
	WarnGhostPrimary           = "ghost_primary"
	WarnNoTenant               = "no_tenant"
	WarnNoLogin                = "no_login_method"
	WarnStaleVerified          = "stale_verified_row"
	WarnVerifiedCaseMismatch   = "verified_email_case_mismatch"
	WarnPasswordlessUnverified = "passwordless_email_unverified"
	WarnTemporaryPassword      = "temporary_password"
	WarnSeveralPasswords       = "several_passwords"
	WarnFirebaseHash           = "firebase_hash"
	WarnUnknownHash            = "unknown_hash"
	WarnDoubleEncoded          = "double_encoded_text"
	WarnMetadataInvalid        = "metadata_invalid"
	WarnDanglingRole           = "dangling_role"
	WarnTOTPUnverified         = "totp_unverified_device"
	WarnTOTPUnderInternalID    = "totp_under_internal_id"
	WarnRowsUnderLinkedMethod  = "rows_under_linked_method_id"
	WarnTimeUnknown            = "time_joined_unknown"
	WarnDashboardUsers         = "dashboard_users_present"
	WarnBulkImportPending      = "bulk_import_pending"
	WarnSecretsInConfig        = "secrets_in_config"
	WarnOtherApps              = "other_apps"
	WarnTenantElsewhere        = "tenant_in_other_database"
	WarnUnknownColumn          = "unknown_column"
	WarnTenantConfig           = "tenant_config_invalid"
	WarnTenantsDiffer          = "tenant_membership_differs"
	WarnOldTableStale          = "old_table_email_stale"
	WarnTableNotRead           = "table_not_read"
	WarnSharedID               = "visible_id_shared"
	WarnTimeImplausible        = "time_joined_implausible"
	WarnPhoneNotNormal         = "phone_not_normalised"
	WarnAppElsewhere           = "app_in_other_database"
	WarnPlaceholder            = "placeholder_text"
	WarnTableCopy              = "table_copy"
	WarnNothingStored          = "nothing_stored"
	WarnMetadataEscaped        = "metadata_escaped_twice"
	WarnLoneSurrogate          = "lone_surrogate"
	WarnIncomplete             = "incomplete_accepted"
	WarnRowSecurity            = "row_security_in_dump"
	WarnNoPasskey              = "passkey_missing"
	WarnBlankEmail             = "email_with_blanks"
	WarnDuplicateExternalID    = "duplicate_external_id"
	WarnCollation              = "collation_only_match"
	WarnIDsFolded              = "ids_differ_in_case"
	WarnLinkingDiffers         = "linking_differs"
)

// maxExamples bounds the ids a [Finding] keeps.
const maxExamples = 10

// Finding is one kind of thing an operator should know, over the whole source.
type Finding struct {
	Code  string `json:"code"`
	Count int    `json:"count"`
	// Examples are internal user ids, or what else identifies the place: a
	// table and stored id, a tenant, an app. At most [maxExamples].
	Examples []string `json:"examples"`
	// Detail describes the first one met.
	Detail string `json:"detail"`
}

// findings collects by code, in order of first appearance.
type findings struct {
	order  []string
	byCode map[string]*Finding
}

func (f *findings) add(code, example, detail string) {
	if f.byCode == nil {
		f.byCode = map[string]*Finding{}
	}
	found := f.byCode[code]
	if found == nil {
		found = &Finding{Code: code, Detail: detail, Examples: []string{}}
		f.byCode[code] = found
		f.order = append(f.order, code)
	}
	found.Count++
	if len(found.Examples) < maxExamples {
		found.Examples = append(found.Examples, example)
	}
}

func (f *findings) list() []Finding {
	out := make([]Finding, len(f.order))
	for i, code := range f.order {
		out[i] = *f.byCode[code]
	}
	return out
}
