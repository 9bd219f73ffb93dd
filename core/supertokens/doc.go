// Package supertokens is everything this project knows about SuperTokens: how
// its databases are laid out in every generation since core 1, which of two
// ids a table stores, what makes an e-mail verified, and how rows become
// accounts. No other package names one of its tables.
//
// [Open] looks at a live PostgreSQL database or a pg_dump file, finds the
// installation and its generation from columns alone (there is no version row),
// and [Source.Read] streams canonical users. Both kinds of source feed the same
// assembly, so they give identical users in identical order.
//
// The generations, named after what the core changed:
//
//	G0   core 1.x-2.5     sessions only, no users
//	G1a  core 3.0         e-mail and password, verification not recorded
//	G1b  core 3.1-3.2     verification is a column of the user
//	G1c  core 3.3-3.4     verification is a table; third-party users
//	G2   core 3.5-5.0     index of all users, optional modules
//	G3   core 6.0         apps and tenants
//	G4   core 7.0-11.x    account linking
//	G5   core 12          tenant membership in new tables, in stages
package supertokens
