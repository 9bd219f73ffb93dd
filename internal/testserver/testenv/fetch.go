package testenv

// NPM are the flags with which tests call npm to fetch: a registry that is away for a
// minute is waited for, with more and shorter waits than npm makes by itself.
func NPM() []string {
	return []string{"--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=8", "--fetch-retry-mintimeout=2000", "--fetch-retry-maxtimeout=30000"}
}
